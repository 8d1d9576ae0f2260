"""The example application enqueues what the contract says, when the calendar shows something else, and only then."""

import uuid
from collections.abc import Iterator
from datetime import date
from typing import Any, LiteralString

import psycopg
import pytest
from psycopg import sql

from reactor.core.payload import Cancel, Upsert, parse
from tests.support.databases import Server
from tests.support.example_database import make_example

HOME, OTHER, UNCONNECTED = (uuid.UUID(int=n) for n in (1, 2, 3))
SOURCE = uuid.UUID(int=9)

Connection = psycopg.Connection[tuple[Any, ...]]

# For each table: the values of a row that has an event, what hides the event, what brings it back, what no calendar
# shows, and what the calendar shows.
TABLES: dict[str, tuple[LiteralString, LiteralString, LiteralString, LiteralString, LiteralString]] = {
    "tasks": (
        "insert into tasks (workspace_id, id, title, due_on) values (%s, %s, 'Write it', '2024-05-07')",
        "update tasks set done = true",
        "update tasks set done = false",
        "update tasks set assignee = 'ada'",
        "update tasks set due_on = due_on + 1",
    ),
    "milestones": (
        "insert into milestones (workspace_id, id, title, reached_on) values (%s, %s, 'Beta', '2024-05-08')",
        "update milestones set cancelled = true",
        "update milestones set cancelled = false",
        "update milestones set title = title",
        "update milestones set description = 'no new features'",
    ),
    "gate_runs": (
        (
            "insert into gate_runs (workspace_id, id, title, starts_at, ends_at) "
            "values (%s, %s, 'Go?', '2024-05-08T15:00+02', '2024-05-08T16:00+02')"
        ),
        "update gate_runs set cancelled = true",
        "update gate_runs set cancelled = false",
        "update gate_runs set decision = 'go'",
        "update gate_runs set location = 'Room 1'",
    ),
    "project_reviews": (
        (
            "insert into project_reviews (workspace_id, id, title, starts_at, ends_at, recurrence, time_zone) values "
            "(%s, %s, 'Weekly', '2024-05-08T15:00Z', '2024-05-08T16:00Z', "
            "'{RRULE:FREQ=WEEKLY;COUNT=3}', 'Europe/Berlin')"
        ),
        "update project_reviews set cancelled = true",
        "update project_reviews set cancelled = false",
        "update project_reviews set title = title",
        "update project_reviews set recurrence = null",
    ),
}
KINDS = {
    "tasks": ("task", "BLOCKER_DEADLINE"),
    "milestones": ("milestone", "MILESTONE"),
    "gate_runs": ("gate_run", "GATE_REVIEW"),
    "project_reviews": ("project_review", "PROJECT_REVIEW"),
}


@pytest.fixture(scope="module")
def example_template(postgres: Server) -> Iterator[str]:
    """A database with the example application, two connected workspaces and one without a calendar."""
    name = postgres.create_database()
    dsn = postgres.dsn(name)
    make_example(dsn)
    with psycopg.connect(dsn) as connection:
        for workspace in (HOME, OTHER, UNCONNECTED):
            connection.execute("insert into workspaces (id, name) values (%s, 'x')", (workspace,))
        for workspace in (HOME, OTHER):
            connection.execute(
                "insert into google_connections (workspace_id, calendar_id, refresh_token_encrypted) "
                "values (%s, %s, '')",
                (workspace, f"{workspace.int}@example.com"),
            )
    yield name
    postgres.drop_database(name)


@pytest.fixture
def owner(postgres: Server, example_template: str) -> Iterator[Connection]:
    name = postgres.create_database(example_template)
    with psycopg.connect(postgres.dsn(name), autocommit=True) as connection:
        connection.execute("set timezone = 'Pacific/Auckland'")  # no event may depend on it
        yield connection
    postgres.drop_database(name)


def enqueued(owner: Connection) -> list[Upsert | Cancel]:
    """What was enqueued since the last time, as the reactor understands it."""
    rows = owner.execute(
        "with taken as (delete from sync_outbox returning *) "
        "select operation, workspace_id, payload from taken order by seq"
    ).fetchall()
    payloads = [parse(*row) for row in rows]
    assert all(isinstance(payload, Upsert | Cancel) for payload in payloads)
    return payloads  # type: ignore[return-value]


def operations(owner: Connection) -> list[str]:
    return [payload.operation for payload in enqueued(owner)]


@pytest.mark.parametrize("table", TABLES)
def test_the_life_of_a_row(owner: Connection, table: str) -> None:
    create, hide, show, irrelevant, relevant = TABLES[table]
    owner.execute(create, (HOME, SOURCE))
    [created] = enqueued(owner)
    assert isinstance(created, Upsert)
    assert (created.source_type, created.event_type) == KINDS[table]
    assert (created.source_id, created.calendar_id) == (str(SOURCE), "1@example.com")

    owner.execute(irrelevant)
    assert operations(owner) == []
    owner.execute(relevant)
    [changed] = enqueued(owner)
    assert isinstance(changed, Upsert)
    assert changed.event != created.event

    owner.execute(hide)
    [cancelled] = enqueued(owner)
    assert isinstance(cancelled, Cancel)
    assert (cancelled.source_type, cancelled.source_id) == (created.source_type, created.source_id)
    owner.execute(relevant)
    owner.execute(irrelevant)
    assert operations(owner) == [], "nobody sees what happens to a row without an event"

    owner.execute(show)
    assert operations(owner) == ["UPSERT_EVENT"]
    owner.execute(sql.SQL("delete from {}").format(sql.Identifier(table)))
    assert operations(owner) == ["CANCEL_EVENT"]


@pytest.mark.parametrize("table", TABLES)
def test_a_row_without_an_event_comes_and_goes_unseen(owner: Connection, table: str) -> None:
    create, hide, *_ = TABLES[table]
    owner.execute(create, (HOME, SOURCE))
    owner.execute(hide)
    enqueued(owner)
    owner.execute(sql.SQL("delete from {}").format(sql.Identifier(table)))
    assert operations(owner) == []


@pytest.mark.parametrize("table", TABLES)
def test_a_row_that_moves_to_another_workspace_leaves_the_first_calendar(owner: Connection, table: str) -> None:
    owner.execute(TABLES[table][0], (HOME, SOURCE))
    enqueued(owner)
    owner.execute(sql.SQL("update {} set workspace_id = %s").format(sql.Identifier(table)), (OTHER,))
    assert [(p.operation, p.workspace_id, p.calendar_id) for p in enqueued(owner)] == [
        ("CANCEL_EVENT", str(HOME), "1@example.com"),
        ("UPSERT_EVENT", str(OTHER), "2@example.com"),
    ]


def test_a_deadline_is_a_day_wherever_the_session_is(owner: Connection) -> None:
    owner.execute(TABLES["tasks"][0], (HOME, SOURCE))
    [payload] = enqueued(owner)
    assert isinstance(payload, Upsert)
    assert (payload.event.title, payload.event.is_all_day) == ("Due: Write it", True)
    assert (payload.event.start, payload.event.end) == (date(2024, 5, 7), date(2024, 5, 8))


def test_a_meeting_is_an_instant_and_a_recurring_one_has_a_zone(owner: Connection) -> None:
    owner.execute(TABLES["gate_runs"][0], (HOME, SOURCE))
    owner.execute(TABLES["project_reviews"][0], (HOME, SOURCE))
    gate, review = enqueued(owner)
    assert isinstance(gate, Upsert)
    assert isinstance(review, Upsert)
    assert gate.event.start.isoformat() == "2024-05-08T13:00:00+00:00"
    assert (review.event.time_zone, review.event.recurrence) == ("Europe/Berlin", ["RRULE:FREQ=WEEKLY;COUNT=3"])


def test_fractions_of_a_second_and_the_longest_title_pass(owner: Connection) -> None:
    owner.execute(
        "insert into gate_runs (workspace_id, title, starts_at, ends_at) "
        "values (%s, repeat('x', 400), '2024-05-08T13:00:00.000001Z', '2024-05-08T13:00:00.000002Z')",
        (HOME,),
    )
    assert operations(owner) == ["UPSERT_EVENT"]


def test_a_task_without_a_date_and_a_workspace_without_a_calendar_enqueue_nothing(owner: Connection) -> None:
    owner.execute("insert into tasks (workspace_id, title) values (%s, 'Some day')", (HOME,))
    owner.execute(TABLES["milestones"][0], (UNCONNECTED, SOURCE))
    assert operations(owner) == []


def test_a_workspace_can_be_deleted(owner: Connection) -> None:
    for create, *_ in TABLES.values():
        owner.execute(create, (HOME, SOURCE))
    owner.execute("delete from workspaces where id = %s", (HOME,))
    assert operations(owner) == []


def test_an_edit_that_is_rolled_back_was_never_enqueued(owner: Connection) -> None:
    with owner.transaction(force_rollback=True):
        owner.execute(TABLES["tasks"][0], (HOME, SOURCE))
    assert operations(owner) == []


def test_an_editor_needs_no_right_on_the_outbox_and_has_none(owner: Connection) -> None:
    with owner.transaction(force_rollback=True):
        owner.execute("create role demo_editor")
        owner.execute("grant insert on tasks to demo_editor")
        owner.execute("set local role demo_editor")
        owner.execute(TABLES["tasks"][0], (HOME, SOURCE))
        with pytest.raises(psycopg.errors.InsufficientPrivilege), owner.transaction():
            owner.execute("select enqueue_calendar_event(%s, 'task', %s, null)", (OTHER, SOURCE))
        with pytest.raises(psycopg.errors.InsufficientPrivilege), owner.transaction():
            owner.execute("select from calendar_source_events")
        owner.execute("reset role")
        assert operations(owner) == ["UPSERT_EVENT"]


def test_the_view_says_what_the_payloads_say(owner: Connection) -> None:
    for create, *_ in TABLES.values():
        owner.execute(create, (HOME, SOURCE))
    owner.execute("insert into tasks (workspace_id, title, due_on, done) values (%s, 'x', '2024-01-01', true)", (HOME,))
    owner.execute(TABLES["tasks"][0], (UNCONNECTED, uuid.UUID(int=10)))
    view = owner.execute(
        "select source_type, source_id::text, event_type::text, title, recurrence, color_id, time_zone, calendar_id, "
        "workspace_id::text from calendar_source_events order by source_type"
    ).fetchall()
    payloads = [p for p in enqueued(owner) if isinstance(p, Upsert)]
    assert view == sorted(
        (
            p.source_type,
            p.source_id,
            p.event_type.value,
            p.event.title,
            p.event.recurrence,
            p.event.color_id,
            p.event.time_zone,
            p.calendar_id,
            p.workspace_id,
        )
        for p in payloads
    )


def test_the_reactor_may_read_the_view(owner: Connection) -> None:
    owner.execute(TABLES["tasks"][0], (HOME, SOURCE))
    owner.execute("set role calendar_sync_reactor")
    assert owner.execute("select count(*) from calendar_source_events").fetchone() == (1,)
