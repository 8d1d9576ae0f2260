"""Poison: rows of the outbox as an application may write them and no reactor expects them, by name.

Each kind is one valid edit with one thing odd about it: a column that holds what its type allows and nothing should, or
JSON that Postgres stores and others choke on. What a schema refuses (a NULL in a fresh table) is no row of that schema;
`loosen` makes a table what an adopted one may be, where hardly anything is refused.

    for kind in KINDS:
        item_id = insert(connection, kind, workspace_id, source_id)   # None: this schema refuses it
"""

from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

Connection = psycopg.Connection[Any]

MEGABYTES = 30


@dataclass(frozen=True)
class Poison:
    """A kind of odd row.

    Attributes:
        columns: SQL for the columns that are odd; `%(payload)s` in it is the edit as it should be.
        waits: Whether the row is not to be done: it is never due, or not open. What is open and due is to end.
        heavy: Whether the row is of several megabytes.
    """

    columns: dict[str, str] = field(default_factory=dict)
    waits: bool = False
    heavy: bool = False


_MOMENTS = {
    "null": "null::timestamptz",
    "infinite": "'infinity'::timestamptz",
    "minus infinite": "'-infinity'::timestamptz",
    "before Christ": "'4713-01-02 00:00:00+00 BC'::timestamptz",
    "year 20000": "'20000-01-01 00:00:00+00'::timestamptz",
    "year 294276": "'294276-12-31 23:59:59.999999+00'::timestamptz",
    "year 9999, a zone ahead": "'9999-12-31 23:59:59-15'::timestamptz",
}
_NEVER = ("null", "infinite", "year 20000", "year 294276", "year 9999, a zone ahead")
_DIGITS = "repeat('9', 5000)"
_DEEP = "(repeat('[', 3000) || repeat(']', 3000))::jsonb"
_DEEP_OBJECT = """(repeat('{"a":', 3000) || '1' || repeat('}', 3000))::jsonb"""
_ESCAPES = r"""U&'\001B]0;title\0007\001B[31mred\001B[0m\000D\202Eturned\2066'"""


def _put(path: str, value: str) -> Poison:
    return Poison({"payload": f"jsonb_set(%(payload)s, '{{{path}}}', {value})"})


def _is(value: str) -> Poison:
    return Poison({"payload": value})


def _heavy(path: str, value: str) -> Poison:
    return Poison(_put(path, value).columns, heavy=True)


def _text(megabytes: int) -> str:
    return f"to_jsonb(repeat('0123456789', {megabytes * 100_000}))"


def _kinds() -> dict[str, Poison]:
    due = {f"due: {name}": Poison({"next_attempt_at": at}, waits=name in _NEVER) for name, at in _MOMENTS.items()}
    others = {
        f"{column}: {name}": Poison({f"{column}_at": at})
        for column in ("created", "updated", "processed")
        for name, at in _MOMENTS.items()
    }
    json = {
        "json: a number of 5,000 digits in a field that is not read": _put("more", f"{_DIGITS}::text::jsonb"),
        "json: a number of 5,000 digits where a text belongs": _put("event,title", f"{_DIGITS}::text::jsonb"),
        "json: a fraction of 5,000 digits": _put("more", f"('0.' || {_DIGITS})::jsonb"),
        "json: an exponent beyond floats": _put("more", "'1e5000'::jsonb"),
        "json: arrays, 3,000 deep": _put("more", _DEEP),
        "json: objects, 3,000 deep": _put("more", _DEEP_OBJECT),
        "json: arrays, 3,000 deep, where an event belongs": _put("event", _DEEP),
        "json: null": _is("'null'::jsonb"),
        "json: a number": _is("'7'::jsonb"),
        "json: true": _is("'true'::jsonb"),
        "json: an array": _is("jsonb_build_array(%(payload)s)"),
        "json: nothing in it": _is("'{}'::jsonb"),
        "json: encoded twice": _is("to_jsonb((%(payload)s::jsonb)::text)"),
        "json: a field's name of 1 MB": _is("%(payload)s || jsonb_build_object(repeat('n', 1000000), 1)"),
        "json: 20,000 fields": _is(
            "%(payload)s || (select jsonb_object_agg('f' || n, n) from generate_series(1, 20000) n)"
        ),
        "json: escapes in the title": _put("event,title", f"to_jsonb({_ESCAPES}::text)"),
        "json: escapes in the names": _put("sourceType", f"to_jsonb({_ESCAPES}::text)"),
        "json: a source of 1 MB": _put("sourceId", "to_jsonb(repeat('s', 1000000))"),
        "json: a source that is no uuid": _put("sourceId", """'"seven"'::jsonb"""),
        "json: a source that is an array": _put("sourceId", "'[1]'::jsonb"),
        "json: a calendar of 1 MB": _put("calendarId", "to_jsonb(repeat('c', 1000000))"),
        "json: a calendar of dots": _put("calendarId", """'".."'::jsonb"""),
        "json: another workspace's": _put("workspaceId", """'"00000000-0000-0000-0000-000000000001"'::jsonb"""),
        "json: times of year 20000": _put("event,start", """'"20000-01-01T00:00:00Z"'::jsonb"""),
        "json: an infinite time": _put("event,start", """'"infinity"'::jsonb"""),
        "json: 5,000 lines of recurrence": _put("event,recurrence", "to_jsonb(array_fill('x'::text, '{5000}'))"),
        "json: a title of 300 kB": _put("event,title", "to_jsonb(repeat('t', 300000))"),
        f"json: a title of {MEGABYTES} MB": _heavy("event,title", _text(MEGABYTES)),
        f"json: {MEGABYTES} MB in a field that is not read": _heavy("more", _text(MEGABYTES)),
    }
    numbers = {
        "attempts: all of them": Poison({"attempts": "5", "max_attempts": "5"}),
        "attempts: none allowed": Poison({"attempts": "0", "max_attempts": "0"}),
        "attempts: the largest": Poison({"attempts": "2147483647", "max_attempts": "2147483647"}),
        "attempts: the largest allowed": Poison({"max_attempts": "2147483647"}),
        "attempts: less than none": Poison({"attempts": "-2147483648", "max_attempts": "-2147483648"}),
        "attempts: more than are allowed": Poison({"attempts": "9", "max_attempts": "5"}),
        "attempts: null": Poison({"attempts": "null"}),
        "attempts: null allowed": Poison({"max_attempts": "null"}),
        "place: zero": Poison({"seq": "0"}),
        "place: less than zero": Poison({"seq": "-9223372036854775808"}),
        "place: null": Poison({"seq": "null"}),
        "place: the largest": Poison({"seq": "9223372036854775807"}),
    }
    states = {
        "failed and never tried": Poison({"status": "'FAILED'"}),
        "pending with a code": Poison({"failure_code": "'EXHAUSTED'", "processed_at": "now()"}),
        "completed without an end": Poison({"status": "'COMPLETED'", "attempts": "3", "max_attempts": "3"}, waits=True),
        "dead of nothing": Poison({"status": "'DEAD_LETTER'"}, waits=True),
        "dead of an unknown code": Poison({"status": "'DEAD_LETTER'", "failure_code": f"{_ESCAPES}"}, waits=True),
        "dead of a code of 100 kB": Poison(
            {"status": "'DEAD_LETTER'", "failure_code": "repeat('C', 100000)"}, waits=True
        ),
        "dead with 2 MB of error": Poison(
            {"status": "'DEAD_LETTER'", "last_error": "repeat('error ', 350000)"}, waits=True
        ),
        "dead with escapes": Poison({"status": "'DEAD_LETTER'", "last_error": f"{_ESCAPES}"}, waits=True),
        "dead of AUTH, due never": Poison(
            {"status": "'DEAD_LETTER'", "failure_code": "'AUTH'", "next_attempt_at": "'infinity'"}, waits=True
        ),
        "dead in times to come": Poison({"status": "'DEAD_LETTER'", "updated_at": "'infinity'"}, waits=True),
        "dead, 3,000 deep": Poison(
            {"status": "'DEAD_LETTER'", "failure_code": "'BAD_PAYLOAD'", **_put("more", _DEEP).columns}, waits=True
        ),
        "dead, of 5,000 digits": Poison(
            {"status": "'DEAD_LETTER'", **_put("more", f"{_DIGITS}::text::jsonb").columns}, waits=True
        ),
        f"dead, of {MEGABYTES} MB": Poison(
            {"status": "'DEAD_LETTER'", **_put("event,title", _text(MEGABYTES)).columns}, waits=True, heavy=True
        ),
        "waiting with 2 MB of error": Poison({"last_error": "repeat('error ', 350000)"}),
        "processing by nobody": Poison({"status": "'PROCESSING'", "updated_at": "now() - interval '1 day'"}),
        "processing by nobody, updated never": Poison(
            {"status": "'PROCESSING'", "updated_at": "'infinity'"}, waits=True
        ),
        "processing by nobody, updated null": Poison({"status": "'PROCESSING'", "updated_at": "null"}, waits=True),
        "processing by nobody, updated before time": Poison({"status": "'PROCESSING'", "updated_at": "'-infinity'"}),
        "processing, of a claim that nobody made": Poison({"status": "'PROCESSING'", "claim_no": "-7"}),
        "processing, all attempts used": Poison(
            {"status": "'PROCESSING'", "claim_no": "9223372036854775807", "attempts": "5", "updated_at": "'-infinity'"}
        ),
        "status: null": Poison({"status": "null"}, waits=True),
        "operation: null": Poison({"operation": "null"}),
        "payload: null": Poison({"payload": "null"}),
        "its own parent": Poison(
            {"id": "'00000000-0000-0000-0000-00000000000a'", "parent_id": "'00000000-0000-0000-0000-00000000000a'"}
        ),
        "a parent that there is not": Poison({"parent_id": "'ffffffff-ffff-ffff-ffff-ffffffffffff'"}),
        "a rebuild with the payload of an edit": Poison({"operation": "'REBUILD_ALL'"}),
        "a rebuild of nothing": Poison({"operation": "'REBUILD_ALL'", "payload": "'null'"}),
        "a rebuild that is never due": Poison(
            {"operation": "'REBUILD_ALL'", "next_attempt_at": "'infinity'"}, waits=True
        ),
        "a rebuild without a due time": Poison({"operation": "'REBUILD_ALL'", "next_attempt_at": "null"}, waits=True),
        "a rebuild in nobody's hand": Poison(
            {"operation": "'REBUILD_ALL'", "status": "'PROCESSING'", "claim_no": "-8"}
        ),
        "a dead rebuild of escapes": Poison(
            {"operation": "'REBUILD_ALL'", "status": "'DEAD_LETTER'", "last_error": f"{_ESCAPES}"}, waits=True
        ),
        "a cancel with the payload of an edit": Poison({"operation": "'CANCEL_EVENT'"}),
    }
    return due | others | json | numbers | states


KINDS: dict[str, Poison] = _kinds()
LIGHT = [name for name, kind in KINDS.items() if not kind.heavy]


def edit(workspace_id: UUID, source_id: UUID, title: str = "odd", calendar_id: str = "primary") -> dict[str, Any]:
    """The payload of a valid edit."""
    return {
        "operation": "UPSERT_EVENT",
        "workspaceId": str(workspace_id),
        "calendarId": calendar_id,
        "sourceType": "task",
        "sourceId": str(source_id),
        "eventType": "MILESTONE",
        "event": {"title": title, "start": "2026-12-01T09:00:00Z", "end": "2026-12-01T10:00:00Z"},
    }


def insert(
    connection: Connection, kind: str, workspace_id: UUID, source_id: UUID, *, calendar_id: str = "primary"
) -> UUID | None:
    """Insert a row of a kind.

    Args:
        connection: The owner's, or any that may insert; in a transaction, or in autocommit mode.
        kind: A name of `KINDS`.
        workspace_id: The row's workspace.
        source_id: What the edit is about.
        calendar_id: Where its event belongs.

    Returns:
        The row's id; None where this schema refuses such a row.
    """
    columns = {
        "workspace_id": "%(workspace)s",
        "operation": "'UPSERT_EVENT'",
        "payload": "%(payload)s",
        **KINDS[kind].columns,
    }
    values = ", ".join(columns.values())
    statement = f"insert into public.sync_outbox ({', '.join(columns)}) values ({values}) returning id"
    params = {"workspace": workspace_id, "payload": Jsonb(edit(workspace_id, source_id, calendar_id=calendar_id))}
    try:
        with connection.transaction():
            row: Any = connection.execute(statement.encode(), params).fetchone()
    except psycopg.IntegrityError:
        return None
    found = row["id"] if isinstance(row, dict) else row[0]
    assert isinstance(found, UUID)
    return found


def draw(random: Random, count: int, *, heavy: bool = False) -> list[str]:
    """Names of kinds at random."""
    return random.choices(list(KINDS) if heavy else LIGHT, k=count)


def loosen(connection: Connection) -> None:
    """Make the table what an adopted one may be: whatever has a default may be NULL, and nothing is checked."""
    connection.execute(
        "alter table public.sync_outbox"
        " drop constraint if exists valid_attempts, drop constraint if exists sync_outbox_attempts_check,"
        " alter status drop not null, alter attempts drop not null, alter max_attempts drop not null,"
        " alter next_attempt_at drop not null, alter created_at drop not null, alter updated_at drop not null"
    )
