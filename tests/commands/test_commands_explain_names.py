"""`explain` finds the event by whatever a person has of it, and says so where that is nothing, or several."""

import json
from base64 import urlsafe_b64encode
from typing import Any
from uuid import UUID, uuid5

import psycopg
import pytest

from reactor.core.calendar.ids import event_id
from reactor.postgres.explain import chains, sources
from tests.support.commands import call, document
from tests.support.databases import Database
from tests.support.outbox_world import NAMESPACE, World as Rows, source, workspace

EVENT = {"title": "Quarterly review", "isAllDay": True, "start": "2026-12-01", "end": "2026-12-02"}
TITLED = {"eventType": "MILESTONE", "event": EVENT}


@pytest.fixture
def rows(rows: Rows) -> Rows:
    rows.connect()
    return rows


def remember(rows: Rows, about: str, *, of: str = "w", event: str | None = None, generation: int = 0) -> None:
    """What is left where an event was applied: a memory and a binding."""
    rows.connection.execute(
        "insert into sync_sources (workspace_id, source_key, floor_seq, generation, google_event_id, calendar_id,"
        " cancelled) values (%s, %s, 5, %s, %s, 'primary', %s)",
        (workspace(of), f"task:{source(about)}", generation, event, event is None),
    )
    if event:
        rows.connection.execute(
            "insert into calendar_event_bindings (workspace_id, google_event_id, calendar_id, source_type, source_id,"
            " event_type, event_title) values (%s, %s, 'primary', 'task', %s, 'MILESTONE', 'Review of the quarter')",
            (workspace(of), event, source(about)),
        )


def found(database: Database, which: object, *arguments: str, code: int = 1) -> dict[str, Any]:
    answer: dict[str, Any] = document(database, "explain", str(which), *arguments, code=code)
    return answer


def test_by_any_name(database: Database, rows: Rows) -> None:
    item = rows.insert("waits", payload=TITLED)
    rows.insert("dead", status="DEAD_LETTER", failure_code="BAD_REQUEST")
    done = rows.insert("done", status="COMPLETED")
    remember(rows, "applied", event="googleseventidgooglesevent")
    remember(rows, "removed", generation=2)
    ours = event_id(str(workspace()), f"task:{source('removed')}", 1)
    link = urlsafe_b64encode(b"googleseventidgooglesevent primary").decode()
    for which, about in (
        (item, "waits"),
        (done, "done"),
        (f"task:{source('waits')}", "waits"),
        (source("waits"), "waits"),
        (source("dead"), "dead"),
        (source("done"), "done"),
        (source("applied"), "applied"),
        ("googleseventidgooglesevent", "applied"),
        (f"https://www.google.com/calendar/event?eid={link}", "applied"),
        (ours, "removed"),
        (event_id(str(workspace()), f"task:{source('waits')}", 0), "waits"),
        ("quarterly REVIEW", "waits"),
        ("of the quarter", "applied"),
    ):
        result = call(database.reactor, "explain", str(which), "--json")
        assert json.loads(result.stdout)["source"] == f"task:{source(about)}", which
    assert found(database, item)["item"] == str(item)
    assert found(database, f"task:{source('new')}", "--workspace", str(workspace()))["cause"] == "unknown"


def test_several_are_listed_without_their_words(database: Database, rows: Rows) -> None:
    rows.insert("one", payload=TITLED)
    rows.connect("other")
    rows.insert("two", of="other", payload=TITLED)
    result = call(database.reactor, "explain", "review")
    assert result.exit_code == 2
    assert source("one") in result.stdout
    assert source("two") in result.stdout
    assert "(16 characters)" in result.stdout
    assert "Quarterly" not in result.output
    assert "2026-12-01" in result.stdout
    assert "It may be one of 2: say which, by its source and its --workspace." in result.stderr
    assert "Quarterly review" in call(database.reactor, "explain", "review", "--show-texts").stdout
    one = found(database, "review", "--workspace", str(workspace("other")))
    assert one["source"] == f"task:{source('two')}"
    assert "Quarterly" not in json.dumps(one)
    assert "Quarterly review" in call(database.reactor, "explain", source("two"), "--show-texts").stdout
    for number in range(25):
        rows.insert(f"many {number}", payload=TITLED)
    many = found(database, "review", code=2)
    assert (len(many["matches"]), many["more"]) == (20, True)


def test_nothing_that_a_terminal_obeys_comes_out(database: Database, rows: Rows) -> None:
    item = rows.insert("dead", status="DEAD_LETTER", last_error="\x1b]0;mine\x07", payload={"calendarId": "c" * 9_999})
    rows.connection.execute("update google_connections set calendar_id = repeat('c', 100000)")
    result = call(database.reactor, "explain", str(item))
    assert (result.exit_code, "\x1b" in result.output) == (1, False)
    assert max(map(len, result.output.splitlines())) < 2_000


@pytest.mark.parametrize(
    ("which", "sentence"),
    [
        ("nothing like it", "No such event is known"),
        ("googleseventidgooglesevent", "No such event is known"),
        (str(UUID(int=7)), "No such event is known"),
        ("https://example.com", "The link holds no event"),
        ("", "Say which event"),
    ],
)
def test_what_is_not_known(database: Database, which: str, sentence: str) -> None:
    result = call(database.reactor, "explain", which)
    assert (result.exit_code, result.stdout) == (2, "")
    assert sentence in result.stderr


def test_a_rebuild_is_about_all(database: Database, rows: Rows) -> None:
    rebuild = rows.insert(operation="REBUILD_ALL")
    result = call(database.reactor, "explain", str(rebuild))
    assert result.exit_code == 2
    assert f"status --rebuild {rebuild}" in result.stderr


def test_google_is_asked_only_with_what_it_takes(database: Database, rows: Rows) -> None:
    item = rows.insert("waits")
    result = call(database.reactor, "explain", str(item), "--google")
    assert result.exit_code == 2
    assert "GOOGLE_CLIENT_ID is not set" in result.stderr
    settings = {"GOOGLE_CLIENT_ID": "id", "GOOGLE_CLIENT_SECRET": "secret"}
    result = call(database.reactor, "explain", str(item), "--google", **settings)
    assert result.exit_code == 2
    assert result.stderr.startswith("Google cannot be asked: ")
    other = rows.insert("waits", of="stranger")
    result = call(database.reactor, "explain", str(other), "--google", **settings)
    assert (result.exit_code, "Google was not asked: the workspace has no connection." in result.stderr) == (1, True)


def test_a_view_that_fails_or_is_slow_is_told_and_the_rest_too(
    database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chains, "VIEW_SECONDS", 0.2)
    item = rows.insert("waits")
    columns = (
        f"'{workspace()}'::uuid as workspace_id, 'task' as source_type, '{source('waits')}' as source_id,"
        " 'some words' as title, now() as start_at"
    )
    for body, problem in (
        (f"select {columns} from generate_series(1, 10) as n where 1 / (n - n) > 0", "SQLSTATE 22012"),
        (f"select {columns} from pg_sleep(20)", "took longer than 0.2 s"),
        (f"select {columns}", "may not be read"),
    ):
        rows.connection.execute("drop view if exists calendar_source_events")
        rows.connection.execute(f"create view calendar_source_events as {body}".encode())
        if "may not" not in problem:
            rows.connection.execute("grant select on calendar_source_events to calendar_sync_reactor")
        answer = found(database, item)
        assert problem in answer["wanted"]["view"]
        assert answer["cause"] == "no_replica"
        assert problem in call(database.reactor, "explain", "some words").stderr
    rows.connection.execute("drop view calendar_source_events")
    rows.connection.execute(
        "create function calendar_source_events(w uuid) returns table (workspace_id uuid, source_type text,"
        " source_id uuid, title text, event_type text) language sql as"
        f" $$ select w, 'task', '{source('waits')}'::uuid, 'secret', 'MILESTONE' $$"
    )
    assert found(database, item)["wanted"]["view"] == "has it (MILESTONE)"
    assert found(database, source("waits"))["source"] == f"task:{source('waits')}"


def test_a_search_says_what_it_left_out(database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(3):
        rows.connect(f"many {number}")
        remember(rows, f"many {number}", of=f"many {number}", event=f"event{number}")
    monkeypatch.setattr(sources, "WORKSPACES", 2)
    monkeypatch.setattr(sources, "ROWS", 2)
    said = call(database.reactor, "explain", str(uuid5(NAMESPACE, "unknown"))).stderr
    assert "Not all was searched: there are over 2 workspaces: name one with --workspace." in said
    said = call(database.reactor, "explain", "googleseventidgooglesevent").stderr
    assert "Not all was searched: only 2 remembered events were compared" in said


def test_no_table_is_read_from_end_to_end(database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the finished rows only the last ones are read, by an index."""
    for module in (chains, sources):
        monkeypatch.setattr(module, "RECENT", 500)
    rows.connection.execute(
        "insert into sync_outbox (workspace_id, operation, payload, status, failure_code)"
        " select md5((n % 50)::text)::uuid, 'UPSERT_EVENT',"
        " jsonb_build_object('sourceType', 'task', 'sourceId', md5('source' || n)::uuid),"
        " case when n % 10 > 0 then 'COMPLETED' else (enum_range(null::outbox_status))[1 + n % 5] end, 'AUTH'"
        " from generate_series(1, 20000) as n"
    )
    rows.connection.execute(
        "insert into sync_sources (workspace_id, source_key, floor_seq)"
        " select workspace_id, sync_source_key(payload, id), 1 from sync_outbox where status = 'COMPLETED'"
    )
    rows.connection.execute("analyze")
    item = rows.insert("waits")
    tables = "('sync_outbox', 'sync_sources')"
    scans = f"select sum(seq_tup_read)::integer from pg_stat_user_tables where relname in {tables}"

    def read() -> int:
        with psycopg.connect(database.owner) as fresh:
            fresh.execute("select pg_stat_force_next_flush()")
            [[count]] = fresh.execute(scans.encode()).fetchall()
            return int(count)

    before = read()
    asked = (item, f"task:{source('waits')}", source("waits"), source("unknown"))
    for which in asked:
        call(database.reactor, "explain", str(which))
    assert read() - before <= 1_000 * len(asked), "the sample of kinds of sources"
