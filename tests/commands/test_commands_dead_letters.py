"""`dead-letters`: what died is told without its words, and what a requeue comes to is said before and is so."""

import signal
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from reactor.desk import acts
from reactor.desk.letters import dead_letters
from reactor.postgres.connection.admin import open_admin_session
from tests.support.commands import call, document, inherited
from tests.support.databases import Database, wait_until
from tests.support.outbox_world import World as Rows, source, workspace
from tests.support.process_world import WORKSPACE, World
from tests.support.waiting import until

EVENT = {
    "eventType": "MILESTONE",
    "event": {
        "title": "Fire the whole team",
        "description": "secret words",
        "start": "2026-12-01T09:00:00Z",
        "end": "2026-12-01T10:00:00Z",
    },
}


@pytest.fixture
def rows(rows: Rows) -> Rows:
    rows.connect()
    return rows


def die(rows: Rows, about: str, code: str = "EXHAUSTED", *, of: str = "w", **columns: Any) -> UUID:
    return rows.insert(about, of=of, status="DEAD_LETTER", failure_code=code, payload=EVENT, attempts=5, **columns)


def floor(rows: Rows, about: str, seq: int) -> None:
    statement = "insert into sync_sources (workspace_id, source_key, floor_seq) values (%s, %s, %s)"
    rows.connection.execute(statement, (workspace(), f"task:{source(about)}", seq))


def test_they_are_grouped_by_cause(database: Database, rows: Rows) -> None:
    assert call(database.reactor, "dead-letters", "list").exit_code == 0
    for about in "abc":
        die(rows, about, last_error="Google is away")
    other = die(rows, "d", "BAD_REQUEST", last_error="a colour that there is not", updated_at="2020-01-01")
    rows.insert("e", status="DEAD_LETTER", last_error="an older worker's")
    found = document(database, "dead-letters", "list", code=1)
    causes = [(cause["code"], cause["error"], cause["items"]) for cause in found["causes"]]
    assert causes == [
        ("EXHAUSTED", "Google is away", 3),
        ("NONE", "an older worker's", 1),
        ("BAD_REQUEST", "a colour that there is not", 1),
    ]
    assert found["causes"][2]["newest"] == str(other)
    assert "Google is away" in call(database.reactor, "dead-letters", "list").stdout
    for filters, items in (
        (("--code", "bad_request"), 1),
        (("--code", "none"), 1),
        (("--age", "1d"), 1),
        (("--error", "Google is away"), 3),
        (("--error", "Google"), 0),
        (("--before", "2020-01-02"), 1),
        (("--before", "2019-01-01T00:00:00+01:00"), 0),
        (("--workspace", str(workspace())), 5),
    ):
        assert document(database, "dead-letters", "list", *filters, code=min(items, 1))["total"] == items


def test_words_are_shown_only_where_they_are_asked_for(database: Database, rows: Rows) -> None:
    item = str(die(rows, "a", last_error="Google is away"))
    for as_json in ((), ("--json",)):
        hidden = call(database.reactor, "dead-letters", "show", item, *as_json)
        assert hidden.exit_code == 0
        assert "Fire" not in hidden.output
        assert "secret" not in hidden.output
        assert "(19 characters)" in hidden.stdout
        assert "2026-12-01T09:00:00+00:00" in hidden.stdout
        assert "it is sent" in hidden.output
        shown = call(database.reactor, "dead-letters", "show", item, "--show-texts", *as_json)
        assert "Fire the whole team" in shown.stdout


def test_what_would_become_of_one(database: Database, rows: Rows) -> None:
    outdated, parked = die(rows, "outdated"), die(rows, "p", of="stranger")
    floor(rows, "outdated", 1_000_000)
    broken = rows.insert("b", status="DEAD_LETTER", failure_code="BAD_PAYLOAD", payload={"event": {"title": "Fire"}})
    cancel = rows.insert("c", operation="CANCEL_EVENT", status="DEAD_LETTER", failure_code="FORBIDDEN")
    rebuild = rows.insert(operation="REBUILD_ALL", status="DEAD_LETTER", failure_code="EXHAUSTED")
    done = rows.insert("done", status="COMPLETED", payload=EVENT)

    def shown(item: UUID) -> Any:
        return document(database, "dead-letters", "show", str(item))

    assert shown(outdated)["requeue"] == "nothing is sent, a newer state of the source was settled"
    assert shown(parked)["requeue"] == "it waits for a valid connection, then it is sent"
    assert shown(done)["requeue"] == "not possible, it is COMPLETED"
    assert "eventType: is missing; it must be one of" in shown(broken)["preview"]["problems"]
    assert "Fire" not in str(shown(broken))
    again = "it is a dead letter again, the payload cannot be used: mend what writes the row"
    large = rows.insert("l", status="DEAD_LETTER", payload={**EVENT, "more": "x" * 300_000})
    assert shown(broken)["requeue"] == shown(large)["requeue"] == again
    assert f"A requeue: {again}." in call(database.reactor, "dead-letters", "show", str(broken)).stderr
    assert shown(cancel)["preview"]["what"] == "the event is removed"
    assert "compared and put right" in shown(rebuild)["preview"]["what"]
    rows.insert("p", of="stranger")
    assert shown(parked)["requeue"] == "nothing is sent, a newer state of the source waits"
    assert shown(cancel)["requeue"] == "it is sent"
    waits = rows.insert(operation="REBUILD_ALL")
    assert shown(cancel)["requeue"].startswith("it gives way to the workspace's rebuild, which brings")
    assert f"`python -m reactor status --rebuild {waits}`" in shown(cancel)["requeue"]
    assert shown(rebuild)["requeue"] == "it is sent"


def test_a_forecast_asks_the_parser(database: Database, rows: Rows) -> None:
    bad = rows.insert("b", status="DEAD_LETTER", failure_code="BAD_PAYLOAD", payload={"event": {"title": "Fire"}})
    rows.insert("o", status="DEAD_LETTER", payload={**EVENT, "calendarId": "team@example.com\n"})
    rows.insert("l", status="DEAD_LETTER", failure_code="BAD_PAYLOAD", payload={**EVENT, "more": "x" * 300_000})
    die(rows, "mended", "BAD_PAYLOAD")
    found = document(database, "dead-letters", "requeue", "--all", "--dry-run")
    assert (found["refused"], found["sent"]) == (3, 1)
    said = call(database.reactor, "dead-letters", "requeue", "--id", str(bad), "--dry-run").stderr
    assert (
        "1 will be dead letters again: the payload cannot be used (`python -m reactor dead-letters show ID` says why)"
        in said
    )


def test_a_calendar_with_a_line_break_is_shown_so_that_it_is_seen(database: Database, rows: Rows) -> None:
    payload = {**EVENT, "calendarId": "team@example.com\n"}
    item = rows.insert("b", status="DEAD_LETTER", failure_code="BAD_PAYLOAD", payload=payload)
    shown = call(database.reactor, "dead-letters", "show", str(item)).stdout
    assert r"'team@example.com\n'" in shown
    assert "calendarId: begins or ends with white space" in shown
    rows.connection.execute("update google_connections set calendar_id = e'team@example.com\\n'")
    assert r"'team@example.com\n'" in call(database.reactor, "connections", "list").stdout


def test_a_forecast_comes_first_and_a_dry_run_changes_nothing(database: Database, rows: Rows) -> None:
    die(rows, "sent")
    die(rows, "outdated")
    floor(rows, "outdated", 1_000_000)
    die(rows, "twice", "BAD_REQUEST")
    die(rows, "twice", "BAD_REQUEST")
    die(rows, "waits")
    rows.insert("waits")
    die(rows, "p", of="stranger")
    before = rows.one("select jsonb_agg(o order by id) from sync_outbox o")
    found = document(database, "dead-letters", "requeue", "--all", "--dry-run")
    assert {name: found[name] for name in ("sent", "outdated", "overtaken", "parked")} == {
        "sent": 2,
        "outdated": 1,
        "overtaken": 2,
        "parked": 1,
    }
    assert (found["found"], found["requeued"]) == (6, 0)
    assert rows.one("select jsonb_agg(o order by id) from sync_outbox o") == before
    said = call(database.reactor, "dead-letters", "requeue", "--all", "--dry-run").stderr
    assert said.startswith("6 dead letters would be put back:\n  2 will be sent\n")
    assert "  1 will be completed without being sent: a newer state was settled\n" in said
    rows.insert(operation="REBUILD_ALL")
    said = call(database.reactor, "dead-letters", "requeue", "--all", "--dry-run").stderr
    assert "2 will give way to the rebuild of their workspace, which brings the newest state of the same event" in said


def test_what_is_put_back_has_all_its_attempts(database: Database, rows: Rows) -> None:
    first, second, other = die(rows, "a"), die(rows, "b"), die(rows, "c", "BAD_REQUEST")
    result = call(database.reactor, "dead-letters", "requeue", "--code", "EXHAUSTED", "--rate", "1000")
    assert result.exit_code == 0
    assert result.stderr.endswith("2 put back.\n")
    for item in (first, second):
        row = rows.row(item)
        assert (row["status"], row["attempts"], row["failure_code"], row["processed_at"]) == ("PENDING", 0, None, None)
    assert rows.status(other)[0] == "DEAD_LETTER"
    again = call(database.reactor, "dead-letters", "requeue", "--id", str(other), "--id", str(first))
    assert again.stderr.startswith("1 of the given items are no dead letters and are left alone.\n1 dead letter to be")
    nothing = call(database.reactor, "dead-letters", "requeue", "--all")
    assert (nothing.exit_code, nothing.stderr) == (0, "There are no such dead letters.\n")


def test_a_row_that_somebody_holds_is_left_and_said(database: Database, rows: Rows) -> None:
    item = die(rows, "a")
    die(rows, "b")
    with rows.connection.transaction():
        rows.connection.execute("select from sync_outbox where id = %s for update", (item,))
        found = document(database, "dead-letters", "requeue", "--all", code=1)
    assert (found["requeued"], found["left"]) == (1, 1)
    assert document(database, "dead-letters", "requeue", "--all")["requeued"] == 1, "it goes on where it stopped"


def test_what_dies_again_meanwhile_is_left_alone(database: Database, rows: Rows) -> None:
    item = die(rows, "a")
    with open_admin_session(database.reactor, name="test") as admin:
        began = acts.server_time(admin)
        rows.connection.execute("update sync_outbox set last_error = 'again' where id = %s", (item,))
        assert admin.rows(dead_letters.SQL["requeue"], ids=[item], began=began) == []
        later = datetime.max.replace(tzinfo=UTC)
        assert admin.rows(dead_letters.SQL["requeue"], ids=[item], began=later) == [{"id": item}]


def test_the_rate_is_kept(database: Database, rows: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock of our own: each portion has its time, whatever the portions before it took."""
    for number in range(10):
        die(rows, str(number))
    now, seen = 0.0, []

    def sleep(seconds: float) -> None:
        nonlocal now
        now += seconds
        seen.append((round(now, 3), rows.one("select count(*) from sync_outbox where status = 'PENDING'")))

    monkeypatch.setattr("reactor.desk.letters.requeue_run.monotonic", lambda: now)
    monkeypatch.setattr("reactor.desk.letters.requeue_run.sleep", sleep)
    call(database.reactor, "dead-letters", "requeue", "--all", "--rate", "20")
    assert seen == [(0.0, 0), (0.2, 4), (0.4, 8)]


def test_it_is_broken_off_and_goes_on(database: Database, rows: Rows) -> None:
    for number in range(200):
        die(rows, str(number))

    def put_back() -> int:
        return int(rows.one("select count(*) from sync_outbox where status = 'PENDING'"))

    command = [sys.executable, "-m", "reactor", "dead-letters", "requeue", "--all", "--rate", "20"]
    environment = inherited(DATABASE_URL=database.reactor)
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: put_back() > 0)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=30)[1]
    assert process.returncode not in (0, None)
    assert "Traceback" not in said
    some = put_back()
    assert 0 < some < 200
    found = document(database, "dead-letters", "requeue", "--all", "--rate", "10000")
    assert (found["requeued"], put_back()) == (200 - some, 200)


async def test_the_forecast_is_what_happens(world: World) -> None:
    """Through the whole reactor: what is outdated or overtaken is completed without a word to Google."""
    world.connect()
    await world.start().ready()
    items = {name: world.insert(number, name) for number, name in enumerate(("sent", "outdated", "older"), 1)}
    await world.all_done(3)
    dead = "update sync_outbox set status = 'DEAD_LETTER', failure_code = 'EXHAUSTED', attempts = 5 where id = any(%s)"
    world.execute(dead, list(items.values()))
    newer = [world.insert(2, "newest"), world.insert(3, "newer")]
    await until(lambda: world.statuses() == {"COMPLETED": 2, "DEAD_LETTER": 3})
    world.execute(dead, newer[1:])
    writes = sum(map(len, world.google.emulator.writes(world.google.user).values()))
    found = document(world.database, "dead-letters", "requeue", "--workspace", str(WORKSPACE))
    assert (found["sent"], found["outdated"], found["requeued"]) == (2, 2, 4)
    await world.all_done(5)
    superseded = world.execute("select id from sync_outbox where failure_code = 'SUPERSEDED'")
    assert {item_id for (item_id,) in superseded} == {items["outdated"], items["older"]}
    assert world.titles() == {"sent": 1, "newest": 1, "newer": 1}
    assert sum(map(len, world.google.emulator.writes(world.google.user).values())) <= writes + 2
