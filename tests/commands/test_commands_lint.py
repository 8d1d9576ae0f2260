"""`lint`: what the application writes is checked as the reactor will check it, and no value is ever repeated."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from reactor.desk.lint import NEWEST
from tests.support.commands import call, document
from tests.support.databases import Database
from tests.support.dialogues import upsert_json
from tests.support.odd_rows import KINDS, insert

WORKSPACE, OTHER = UUID(int=1), UUID(int=2)
SECRET = "the secret plan"

VIEW = """
create table shown as
select '{workspace}'::uuid as workspace_id, 'team@example.com'::text as calendar_id, 'task'::text as source_type,
       md5(n::text)::uuid::text as source_id, 'MILESTONE'::text as event_type, '{secret}'::text as title,
       null::text as description, null::text as location, '2026-01-01 09:00+00'::text as start_at,
       '2026-01-01 10:00+00'::text as end_at, 'false'::text as is_all_day, null::text[] as recurrence,
       null::text as color_id, null::text as time_zone
  from generate_series(1, {rows}) as n;
create view public.calendar_source_events as select * from shown;
grant select on public.calendar_source_events to calendar_sync_reactor;
"""

BROKEN = """
create or replace view public.calendar_source_events as
select workspace_id, calendar_id, source_type, source_id, event_type,
       (1 / length(replace(title, 'the secret plan', '')))::text as title, description, location, start_at, end_at,
       is_all_day, recurrence, color_id, time_zone
  from shown
"""


@pytest.fixture
def owner(database: Database) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        yield owner


def show(owner: psycopg.Connection[Any], rows: int) -> None:
    """Make a view of so many good rows."""
    owner.execute(VIEW.format(workspace=WORKSPACE, secret=SECRET, rows=rows).encode())


def write(owner: psycopg.Connection[Any], payload: object, workspace: UUID = WORKSPACE) -> UUID:
    item = uuid4()
    owner.execute(
        "insert into sync_outbox (id, workspace_id, operation, payload) values (%s, %s, 'UPSERT_EVENT', %s)",
        (item, workspace, Jsonb(payload)),
    )
    return item


def told(part: dict[str, Any]) -> dict[str, int]:
    return {each["field"]: each["rows"] for each in part["problems"]}


def test_the_rows_of_the_view_are_read_as_a_rebuild_reads_them(
    database: Database, owner: psycopg.Connection[Any]
) -> None:
    show(owner, 700)  # more than a portion
    good = document(database, "lint")["view"]
    assert (good["origin"], good["rows"], good["bad"], good["capped"], good["problems"]) == ("view", 700, 0, False, [])
    for column, value, first, rows in (
        ("title", "", 0, 3),
        ("start_at", SECRET, 10, 2),
        ("end_at", "2026-01-01 08:00+00", 20, 1),
        ("event_type", SECRET, 30, 4),
        ("workspace_id", None, 40, 1),
    ):
        some = f"select ctid from shown order by source_id offset {first} limit {rows}"
        owner.execute(f"update shown set {column} = %s where ctid in ({some})".encode(), (value,))
    owner.execute("update shown set recurrence = array['FREQ=DAILY', 'RRULE:FREQ=DAILY', 'x'] where title = ''")
    owner.execute("insert into shown select * from shown where event_type = %s limit 2", (SECRET,))

    found = document(database, "lint", code=1)["view"]

    assert told(found) == {
        "event.title": 3,
        "event.recurrence[]": 3,
        "event.start": 2,
        "event.end": 1,
        "eventType": 6,
        "sourceId": 2,
        "workspaceId": 1,
    }
    assert (found["rows"], found["bad"]) == (702, 3 + 2 + 1 + 6 + 1)
    assert SECRET not in json.dumps(found)


def test_a_workspace_can_be_looked_at_alone(database: Database, owner: psycopg.Connection[Any]) -> None:
    show(owner, 3)
    owner.execute(
        "update shown set workspace_id = %s, title = '' where ctid in (select ctid from shown limit 1)", (OTHER,)
    )
    write(owner, {}, OTHER)
    write(owner, {**upsert_json(), "workspaceId": str(WORKSPACE)})
    ours = document(database, "lint", "--workspace", str(WORKSPACE))
    assert (ours["view"]["rows"], ours["outbox"]["rows"]) == (2, 1)
    other = document(database, "lint", "--workspace", str(OTHER), code=1)
    assert [(part["rows"], part["bad"]) for part in (other["view"], other["outbox"])] == [(1, 1), (1, 1)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("revoke select on public.calendar_source_events from calendar_sync_reactor", "GRANT SELECT"),
        ("alter view public.calendar_source_events rename column source_id to id", "source_id does not exist"),
        (BROKEN, "SQLSTATE 22012"),
    ],
)
def test_a_view_that_cannot_be_read_is_a_finding(
    database: Database, owner: psycopg.Connection[Any], change: str, says: str
) -> None:
    show(owner, 3)
    write(owner, {})
    owner.execute(change.encode())
    found = document(database, "lint", code=1)
    assert says in found["view"]["refused"]
    assert (found["view"]["rows"], found["outbox"]["bad"]) == (0, 1), "the outbox is looked at all the same"


def test_the_newest_rows_of_the_outbox_are_read(database: Database, owner: psycopg.Connection[Any]) -> None:
    """Finished ones and waiting ones, beyond the bound the oldest are left out."""
    assert document(database, "lint") == {
        "ok": True,
        "view": {"origin": "memory", "rows": 0, "bad": 0, "capped": False, "refused": "", "problems": []},
        "outbox": {"origin": "outbox", "rows": 0, "bad": 0, "capped": False, "refused": "", "problems": []},
    }
    old = write(owner, {"title": SECRET})
    payload = Jsonb({**upsert_json(), "workspaceId": str(WORKSPACE)})
    owner.execute(
        "insert into sync_outbox (id, workspace_id, operation, payload, status) select gen_random_uuid(), %s,"
        " 'UPSERT_EVENT', %s, case when n %% 2 = 0 then 'COMPLETED' else 'PENDING' end::outbox_status"
        " from generate_series(1, %s) as n",
        (WORKSPACE, payload, NEWEST - 2),
    )
    new = write(owner, {**upsert_json(SECRET), "workspaceId": str(WORKSPACE), "sourceId": SECRET})
    found = document(database, "lint", code=1)["outbox"]
    assert (found["rows"], found["bad"], found["capped"]) == (NEWEST, 2, False)
    assert {each["example"] for each in found["problems"]} == {str(old), str(new)}
    assert SECRET not in json.dumps(found)
    write(owner, {**upsert_json(), "workspaceId": str(WORKSPACE)})
    found = document(database, "lint", code=1)["outbox"]
    assert (found["rows"], found["bad"], found["capped"]) == (NEWEST, 1, True)


def test_odd_rows_end_no_look(database: Database, owner: psycopg.Connection[Any]) -> None:
    taken = [kind for kind in KINDS if insert(owner, kind, WORKSPACE, uuid4())]
    result = call(database.reactor, "lint")
    assert result.exit_code == 1
    assert f"{len(taken):,} row" in result.output
    assert not set(result.output) & set("\x1b\x07")
    assert max(map(len, result.output.splitlines())) < 2_000


GOOD = json.dumps({**upsert_json(SECRET), "workspaceId": str(WORKSPACE)})


@pytest.mark.parametrize(
    ("text", "fields"),
    [
        (GOOD, []),
        (GOOD.replace("UPSERT_EVENT", "REBUILD_ALL"), []),
        (GOOD.replace("UPSERT_EVENT", "CANCEL_EVENT"), []),
        (GOOD.replace("UPSERT_EVENT", "REMOVE"), ["operation"]),
        (GOOD.replace(str(WORKSPACE), SECRET), ["workspaceId"]),
        (GOOD.replace(SECRET, ""), ["event.title"]),
        (f'"{SECRET}"', ["payload"]),
        (f'{{"{SECRET}', ["payload"]),
        ("", ["payload"]),
        ("[]", ["payload"]),
        ("{}", ["operation"]),
        ("[" * 5_000, ["payload"]),
        ("9" * 5_000, ["payload"]),
        (" " * 300_000, ["payload"]),
        ("\udcff", ["payload"]),
    ],
)
def test_a_payload_at_hand_is_checked_without_a_database(tmp_path: Path, text: str, fields: list[str]) -> None:
    file = tmp_path / "payload.json"
    file.write_text(text, "utf-8", errors="surrogateescape")
    result = call(None, "lint", "--payload", str(file), "--json")
    found = json.loads(result.stdout)
    assert [each["field"] for each in found["problems"]] == fields
    assert (found["ok"], result.exit_code) == (not fields, 1 if fields else 0)
    assert SECRET not in result.output
    plain = call(None, "lint", "--payload", "-", stdin=text if "\udcff" not in text else "x")
    assert plain.exit_code == result.exit_code
    assert SECRET not in plain.output


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    result = call(None, "lint", "--payload", str(tmp_path / "none.json"))
    assert result.exit_code == 2
    assert "cannot be read (No such file or directory)" in result.output
