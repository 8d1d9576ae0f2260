"""A rebuild that cannot read what the application says harms nobody, not even its own workspace's edits."""

import psycopg
import pytest

from reactor.core.policy import AGE_BOUND
from reactor.rebuild import LOCK_PATIENCE, refusal
from tests.support.google_fixtures import USER
from tests.support.rebuild_world import RebuildWorld, source, world
from tests.support.waiting import until

__all__ = ["world"]

IMPATIENT = """
import reactor.postgres.connection.pool as pool
pool.STATEMENT_TIMEOUT = 0.5
from reactor.cli import app
app()
"""
READABLE = "grant select on calendar_source_events to calendar_sync_reactor"


def view(*columns: str) -> str:
    """A view in which some columns are not the usual ones."""
    usual = {
        "source_type": "'task'",
        "source_id": "source_id",
        "event_type": "'MILESTONE'",
        "title": "title",
        "start_at": "starts",
        "end_at": "starts + hours * interval '1 h'",
    }
    usual |= dict(column.split(" = ", 1) for column in columns)
    texts = ", ".join(f"{sql} as {name}" for name, sql in usual.items())
    return (
        f"create view calendar_source_events as select workspace_id, calendar_id, {texts} from app_events; {READABLE}"
    )


@pytest.mark.parametrize(
    ("sqlstate", "age", "counts", "says"),
    [
        ("57014", 0, True, "calendar_source_events took longer than 8 s"),
        ("42501", 2 * AGE_BOUND, False, "reads what calendar_sync_reactor may not"),
        ("22012", 0, True, "cannot be read: SQLSTATE 22012"),
        ("42P01", 0, True, "SQLSTATE 42P01"),
        ("XX000", 0, True, "SQLSTATE XX000"),
        ("", 0, True, "SQLSTATE unknown"),
        ("23514", 0, True, "items cannot be inserted: SQLSTATE 23514"),
        ("55P03", 0, False, "another session locks what calendar_source_events needs"),
        ("55P03", LOCK_PATIENCE + 1, True, "another session locks"),
        ("53100", 0, False, "SQLSTATE 53100"),
        ("25006", 0, False, "SQLSTATE 25006"),
        ("53100", AGE_BOUND + 1, True, "SQLSTATE 53100"),
    ],
)
def test_what_the_applications_view_does_counts(sqlstate: str, age: float, *, counts: bool, says: str) -> None:
    retry = refusal(sqlstate, "calendar_source_events", age=age, patience=8.0)
    assert (retry.counts, retry.asked) == (counts, False)
    assert says in retry.reason


async def test_a_view_that_is_too_slow_is_a_dead_letter_that_says_so_and_edits_pass(world: RebuildWorld) -> None:
    world.execute(view("title = title || pg_sleep(5)::text"))
    world.connect()
    world.write(1, "event 1", enqueue=False)
    process = await world.start(IMPATIENT).ready()
    rebuild = world.rebuild(attempts=3)
    sleeping = "select application_name from pg_stat_activity where wait_event = 'PgSleep' and query like '%%source%%'"
    seen: set[str] = set()

    def somebody_sleeps() -> bool:
        seen.update(name for (name,) in world.execute(sleeping))
        return bool(seen)

    await until(somebody_sleeps)
    assert seen == {"calendar-sync-reactor rebuilds"}, "the pool of those that store tokens stays free"
    for number in range(2, 5):
        await until(lambda: world.status(rebuild)[1] >= number - 1)  # noqa: B023
        if number < 4:
            world.write(number, f"edit {number}")
            await until(lambda: world.shown()[f"edit {number}"])  # noqa: B023
            assert world.status(rebuild)[0] != "DEAD_LETTER"
    await world.quiet()
    assert world.status(rebuild) == ("DEAD_LETTER", 3, "EXHAUSTED", "calendar_source_events took longer than 0.5 s")
    told = process.events("rebuild_refused")
    assert [(line["sqlstate"], line["counts"]) for line in told] == [("57014", True)] * 3


async def test_a_lock_on_the_views_table_holds_only_the_rebuild(world: RebuildWorld) -> None:
    world.define_view()
    world.connect()
    world.write(1, "event 1", enqueue=False)
    process = await world.start().ready()
    with psycopg.connect(world.database.owner) as other:
        other.execute("lock table app_events in access exclusive mode")
        rebuild = world.rebuild()
        await until(lambda: len(process.events("rebuild_refused")) == 1)
        edit = world.insert(7)
        await until(lambda: world.status(edit)[0] == "COMPLETED")
        await until(lambda: len(process.events("rebuild_refused")) >= 2)
        status, attempts, _, error = world.status(rebuild)
        assert (attempts, error) == (0, "another session locks what calendar_source_events needs"), status
    await world.quiet()
    assert world.status(rebuild)[:2] == ("COMPLETED", 0)


async def test_a_missing_grant_is_told_and_waits_longer_each_time(world: RebuildWorld) -> None:
    world.define_view()
    world.execute("revoke all on calendar_source_events from calendar_sync_reactor")
    world.connect()
    process = await world.start().ready()
    rebuild = world.rebuild()
    pauses: list[float] = []
    for tries in range(1, 4):
        await until(lambda: len(process.events("rebuild_refused")) == tries)  # noqa: B023
        await until(lambda: world.status(rebuild)[0] == "PENDING")
        [[pause]] = world.execute(
            "select extract(epoch from next_attempt_at - updated_at)::float from sync_outbox where id = %s", rebuild
        )
        pauses.append(pause)
        world.write(tries, f"edit {tries}")
        await until(lambda: world.shown()[f"edit {tries}"])  # noqa: B023
    assert pauses == sorted(pauses)
    assert pauses[2] > 1.9 * pauses[0]
    line = process.events("rebuild_refused")[0]
    assert (line["level"], line["sqlstate"], line["counts"]) == ("warning", "42501", False)
    assert "GRANT SELECT ON public.calendar_source_events" in line["problem"]
    world.execute(READABLE)
    await world.quiet()
    assert world.status(rebuild)[:2] == ("COMPLETED", 0)


ODD = {
    "a null title": "title = case when source_id = odd then null else title end",
    "an infinite start": "start_at = case when source_id = odd then 'infinity' else starts end",
    "a start before time": "start_at = case when source_id = odd then '-infinity' else starts end",
    "a start in year 20000": "start_at = case when source_id = odd then '20000-01-01'::timestamptz else starts end",
    "a start before Christ": "start_at = case when source_id = odd then '0044-03-15 BC'::timestamptz else starts end",
    "a null end": "end_at = case when source_id = odd then null::timestamptz else starts + '1 h' end",
    "a start that is a word": "start_at = case when source_id = odd then 'soon' else starts::text end",
    "the 31st of June": "start_at = case when source_id = odd then '2026-06-31T09:00Z' else starts::text end",
    "a start that is a number": "start_at = case when source_id = odd then '7'::jsonb else to_jsonb(starts) end",
    "a truth that is none": "is_all_day = case when source_id = odd then 'perhaps' else 'no' end",
    "a source that is no uuid": "source_id = case when source_id = odd then 'seven' else source_id::text end",
    "a null source": "source_id = case when source_id = odd then null else source_id end",
    "a type of event that there is not": "event_type = case when source_id = odd then 'PARTY' else 'MILESTONE' end",
    "a recurrence that is a number": "recurrence = case when source_id = odd then '7'::jsonb end",
    "a title of 1 MB": "title = case when source_id = odd then repeat('t', 1000000) else title end",
}  # fmt: skip


CALENDARS = ("null", "''", "'..'", "repeat('c', 5000)", "'not ours'")


async def test_a_row_of_the_view_fails_alone_whatever_it_holds(world: RebuildWorld) -> None:
    world.connect()
    for number in range(3):
        world.write(number, f"event {number}", enqueue=False)
    await world.start().ready()
    views = {kind: view(column).replace("odd", f"'{source(1)}'") for kind, column in ODD.items()}
    for calendar in CALENDARS:
        odd = f"case when title = 'event 1' then {calendar} else calendar_id end as calendar_id,"
        views[f"the calendar {calendar}"] = view().replace("calendar_id,", odd)
    for kind, definition in views.items():
        world.execute("drop view if exists calendar_source_events")
        world.execute(definition)
        rebuild = world.rebuild()
        await world.quiet()
        status, *_, error = world.status(rebuild)
        assert status == "COMPLETED", (kind, error)
        ends = world.execute("select payload ->> 'sourceId', status from sync_outbox where parent_id = %s", rebuild)
        assert [about for about, end in ends if end == "DEAD_LETTER"] in ([source(1)], ["seven"], [None]), (kind, ends)
        assert world.shown() == {"event 0": 1, "event 2": 1}, kind


TIMES = {
    "timestamptz": "starts",
    "timestamp": "starts at time zone 'UTC'",
    "text with an offset": "to_char(starts at time zone 'UTC' + interval '2 h', 'YYYY-MM-DD HH24:MI:SS') || '+02'",
    "text of minutes": "to_char(starts at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI') || 'Z'",
    "text with fractions": "to_char(starts at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.US')",
}


async def test_a_time_is_read_in_every_type_that_says_it(world: RebuildWorld) -> None:
    world.connect()
    world.write(1, "event 1", enqueue=False)
    await world.start().ready()
    for kind, column in TIMES.items():
        world.execute("drop view if exists calendar_source_events")
        world.execute(view(f"start_at = {column}"))
        world.rebuild(recreate=True)
        await world.quiet()
        [shown] = world.google.emulator.events(USER)
        assert shown["start"]["dateTime"].startswith("2026-12-01T09:00:00"), kind
