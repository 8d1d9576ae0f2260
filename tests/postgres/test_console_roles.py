"""The console's roles: a viewer reads no word and changes nothing with any SQL; operators act; looks are recorded.

What is tried is drawn from the catalogue: every table and column, every function.
"""

import json
import os
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import errors, sql
from psycopg.types.json import Jsonb

from reactor.core.explain.asked import understand
from reactor.core.payload import BadPayloadError, parse
from reactor.desk import (
    act_run,
    acts,
    brakes,
    connections,
    explanation,
    lint,
    locks,
    outbox_status,
    pulses,
    rebuild_progress,
    rebuilds,
    replicas,
    workspaces,
)
from reactor.desk.access import invitations
from reactor.desk.acts import ActAuthor
from reactor.desk.letters import dead_letters, requeue_run
from reactor.desk.letters.dead_letters import LetterFilter
from reactor.desk.letters.preview import preview
from reactor.desk.rights import LoginRights, rights, words
from reactor.desk.wording import as_json
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession, open_admin_session
from reactor.token_encryption import TokenCipher
from tests.support.commands import call
from tests.support.databases import Database, Server
from tests.support.outbox_world import World as Rows, source, workspace
from tests.support.process_world import KEYS

CONSOLE = (Path(__file__).resolve().parents[2] / "db" / "console.sql").read_bytes()
SECRET = "Zanzibar"
TOKEN = TokenCipher.from_setting(KEYS).encrypt(workspace(), "1//0the-token")
BY = ActAuthor("ada", "console", "INC-1")
NOW = datetime(2026, 12, 1, tzinfo=UTC)
EVENT = {
    "eventType": "MILESTONE",
    "event": {
        "title": f"{SECRET} is closed",
        "description": f"all of {SECRET}",
        "location": SECRET,
        "start": "2026-12-01T09:00:00Z",
        "end": "2026-12-01T10:00:00Z",
        "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=4"],
        "note": SECRET,
    },
    SECRET: SECRET,
    "more": {"deep": [SECRET]},
}
APPLICATION = """
create table app_events (workspace_id uuid, source_id uuid, title text);
insert into app_events values (%s, %s, %s);
create view calendar_source_events as
select workspace_id, 'task'::text as source_type, source_id, 'primary'::text as calendar_id,
       'MILESTONE'::text as event_type, title, title as description,
       timestamptz '2026-12-01' as start_at, timestamptz '2026-12-02' as end_at
  from app_events;
grant select on calendar_source_events to calendar_sync_reactor;
"""


class Logins:
    """A filled database with a login for each role."""

    def __init__(self, server: Server, name: str, reactor: dict[str, str]) -> None:
        self.owner = server.dsn(name)
        self.rows = Rows(Database(self.owner, self.owner))
        self.dsn = {"reactor": server.dsn(name, **reactor), "owner": self.owner}
        for role in ("viewer", "operator", "words"):
            login = f"reactor_{role}_{os.getpid()}"
            self.rows.connection.execute(
                sql.SQL("create role {} login password 'p' in role {}").format(
                    sql.Identifier(login), sql.Identifier(f"calendar_sync_{role}")
                )
            )
            self.dsn[role] = server.dsn(name, user=login, password="p")

    def close(self) -> None:
        for role in ("viewer", "operator", "words"):
            login = sql.Identifier(f"reactor_{role}_{os.getpid()}")
            self.rows.connection.execute(sql.SQL("drop owned by {0}; drop role {0}").format(login))
        self.rows.close()

    @contextmanager
    def desk(self, role: str) -> Iterator[AdminSession]:
        with open_admin_session(self.dsn[role], name="test") as admin:
            yield admin

    @contextmanager
    def session(self, role: str) -> Iterator[psycopg.Connection[Any]]:
        with psycopg.connect(self.dsn[role], autocommit=True) as connection:
            yield connection


@pytest.fixture(scope="module")
def logins(postgres: Server, migrated_template: str, reactor_login: dict[str, str]) -> Iterator[Logins]:
    name = postgres.create_database(migrated_template)
    with psycopg.connect(postgres.dsn(name), autocommit=True) as owner:
        psycopg.ClientCursor(owner).execute(APPLICATION, (workspace(), source("a"), f"{SECRET} is wanted"))
        owner.execute(CONSOLE)
        owner.execute(CONSOLE)  # again is harmless
    logins = Logins(postgres, name, reactor_login)
    rows = logins.rows
    rows.connect(token=TOKEN)
    rows.connect("off", token=f"{SECRET}, in plain", valid=False)
    for about in "abc":
        rows.insert(about, status="DEAD_LETTER", failure_code="EXHAUSTED", payload=EVENT)
    rows.insert("a", payload=EVENT)
    rows.insert("b", status="COMPLETED", payload=EVENT)
    rows.insert("p", status="DEAD_LETTER", payload={"event": SECRET}, failure_code="BAD_PAYLOAD")
    rows.connection.execute(
        "insert into sync_sources (workspace_id, source_key, floor_seq, google_event_id, payload)"
        " values (%s, %s, 1, 'e', %s)",
        (workspace(), f"task:{source('a')}", Jsonb(EVENT)),
    )
    rows.connection.execute(
        "insert into calendar_event_bindings (workspace_id, google_event_id, calendar_id, source_type, source_id,"
        " event_type, event_title) values (%s, 'e', 'primary', 'task', %s, 'MILESTONE', %s)",
        (workspace(), source("a"), SECRET),
    )
    rows.connection.execute(
        "insert into sync_brakes (workspace_id, cause, deletes, events) values (%s, 'BURST', 30, 40)",
        (workspace("off"),),
    )
    yield logins
    logins.close()
    postgres.drop_database(name)


RELATIONS = """
select n.nspname, c.relname, a.attname, c.relkind::text
  from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
  join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
 where n.nspname !~ '^pg_|^information_schema$' and c.relkind in ('r', 'v', 'm', 'p', 'f')
"""
FUNCTIONS = """
select n.nspname, p.proname, p.oid::regprocedure::text,
       array(select format_type(t.type, null) from unnest(p.proargtypes) with ordinality as t (type, n) order by t.n)
  from pg_proc as p join pg_namespace as n on n.oid = p.pronamespace
 where n.nspname !~ '^pg_|^information_schema$' and p.prokind = 'f' and p.prorettype <> 'trigger'::regtype
"""
EVERYBODY = ["viewer", "operator"]
STATE = """
select md5(string_agg(t.row, ' ' order by t.row)) from (
  select to_jsonb(o)::text as row from sync_outbox as o union all select to_jsonb(c)::text from google_connections as c
  union all select to_jsonb(b)::text from sync_brakes as b union all select to_jsonb(s)::text from sync_sources as s
  union all select to_jsonb(a)::text from sync_acts as a union all select to_jsonb(a)::text from sync_set_aside as a
  union all select to_jsonb(g)::text from sync_order_gaps as g
  union all select to_jsonb(b)::text from calendar_event_bindings as b) as t
"""


def is_told(value: object) -> bool:
    text = str(value)
    return SECRET in text or TOKEN in text or TOKEN[6:] in text


@pytest.mark.parametrize("role", EVERYBODY)
def test_no_column_of_any_table_shows_a_word(logins: Logins, role: str) -> None:
    read = 0
    columns = logins.rows.connection.execute(RELATIONS).fetchall()
    told = []
    with logins.session(role) as session:
        for schema, relation, column, _ in columns:
            query = sql.SQL("select {}::text from {}").format(sql.Identifier(column), sql.Identifier(schema, relation))
            try:
                found = session.execute(query).fetchall()
            except errors.InsufficientPrivilege:
                continue
            read += bool(found)
            if any(is_told(value) for [value] in found):
                told.append((schema, relation, column))
    assert told == []
    assert read > 60


@pytest.mark.parametrize("role", EVERYBODY)
def test_no_function_shows_a_word_or_changes_anything(logins: Logins, role: str) -> None:
    """Each with arguments of its types, which are ids and names that it knows."""
    items = [item for (item,) in logins.rows.connection.execute("select id from sync_outbox").fetchall()]
    spaces = [workspace(), workspace("off")]
    of_type: dict[str, list[Any]] = {
        "uuid": [*items[:4], *spaces],
        "uuid[]": [items, spaces],
        "text": ["ada", "console", f"task:{source('a')}", "START"],
        "text[]": [[f"task:{source('a')}"]],
        "jsonb": [Jsonb({})],
        "integer": [1, 100],
        "integer[]": [[1]],
        "bigint": [1, 2**40],
        "bigint[]": [[1]],
        "boolean": [True, False],
        "timestamp with time zone": ["2030-01-01"],
    }
    functions = logins.rows.connection.execute(FUNCTIONS).fetchall()
    chance, before, called = random.Random(7), logins.rows.one(STATE), 0
    place = logins.rows.one("select last_value from sync_outbox_seq")
    with logins.session(role) as session:
        for schema, name, signature, types in functions:
            for _ in range(3):
                given = [chance.choice(of_type[each]) for each in types]
                casts = sql.SQL(", ").join(sql.SQL("%s::") + sql.SQL(each) for each in types)
                query = sql.SQL("select f::text from {}({}) as f").format(sql.Identifier(schema, name), casts)
                try:
                    found = session.execute(query, given).fetchall()
                except psycopg.Error:
                    continue
                called += 1
                assert not any(map(is_told, found)), signature
    assert logins.rows.one(STATE) == before
    assert logins.rows.one("select last_value from sync_outbox_seq") == place
    assert called > 10


HIDDEN = {
    ("sync_outbox", "payload"),
    ("sync_sources", "payload"),
    ("calendar_event_bindings", "event_title"),
    ("google_connections", "refresh_token_encrypted"),
}


def test_what_is_hidden_is_that_and_nothing_else(logins: Logins) -> None:
    """A column that a migration adds is granted, or is one of these; and the views have it too."""
    tables = """
        select c.relname, a.attname, pg_catalog.has_column_privilege('calendar_sync_viewer', c.oid, a.attnum, 'select'),
               to_regclass('calendar_sync.' || c.relname) is null or exists (
                 select from pg_attribute as v
                  where v.attrelid = to_regclass('calendar_sync.' || c.relname) and v.attname = a.attname)
          from pg_class as c join pg_attribute as a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
         where c.relnamespace = 'public'::regnamespace and c.relkind = 'r'
           and c.relname !~ '^(_?yoyo|app_events|workspace)'"""
    found = logins.rows.connection.execute(tables.encode()).fetchall()
    assert {(table, column) for table, column, granted, _ in found if not granted} == HIDDEN
    assert [each[:2] for each in found if not each[3]] == []


def test_it_is_refused_where_anybody_may_create_what_a_view_would_call(database: Database) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("grant create on schema public to public")
        with pytest.raises(errors.RaiseException, match="revoke create on schema public from public"):
            owner.execute(CONSOLE)


def test_a_viewer_may_write_nothing(logins: Logins) -> None:
    """By the catalogue, and tried."""
    columns = logins.rows.connection.execute(RELATIONS).fetchall()
    allowed, before = [], logins.rows.one(STATE)
    with logins.session("viewer") as session:
        for schema, relation, column, _ in columns:
            name, column_name = sql.Identifier(schema, relation), sql.Identifier(column)
            for statement in (
                sql.SQL("insert into {0} ({1}) select {1} from {0} limit 1"),
                sql.SQL("insert into {0} ({1}) values (default)"),
                sql.SQL("update {0} set {1} = default"),
                sql.SQL("delete from {0}"),
                sql.SQL("truncate {0}"),
                sql.SQL("select from {0} for update"),
                sql.SQL("alter table {0} drop column {1}"),
            ):
                try:
                    session.execute(statement.format(name, column_name))
                except psycopg.Error:
                    continue
                allowed.append((relation, column, statement.as_string()))
        held = """
            select c.oid::regclass::text from pg_class as c join pg_namespace as n on n.oid = c.relnamespace
             where n.nspname in ('public', 'calendar_sync') and c.relkind in ('r', 'v')
               and (has_table_privilege(c.oid, 'delete, truncate, trigger')
                    or has_any_column_privilege(c.oid, 'insert, update, references'))"""
        allowed += session.execute(held).fetchall()
        for role in ("calendar_sync_reactor", "calendar_sync_operator", "calendar_sync_words"):
            with pytest.raises(errors.InsufficientPrivilege):
                session.execute(sql.SQL("set role {}").format(sql.Identifier(role)))
        with pytest.raises(errors.InsufficientPrivilege):
            session.execute("create table mine ()")
        with pytest.raises(errors.InsufficientPrivilege):
            session.execute("create table calendar_sync.mine ()")
    assert allowed == []
    assert logins.rows.one(STATE) == before


def dead(logins: Logins) -> UUID:
    found = logins.rows.one("select id from sync_outbox where failure_code = 'EXHAUSTED' order by seq limit 1")
    assert isinstance(found, UUID)
    return found


def looks(logins: Logins) -> dict[str, Callable[[AdminSession], Any]]:
    """What the desk reads."""
    item, name = dead(logins), understand(f"task:{source('a')}")
    rebuild = logins.rows.one("select id from sync_outbox where operation = 'REBUILD_ALL' limit 1")
    rebuild = rebuild or logins.rows.insert(of="other", operation="REBUILD_ALL")

    def of_title(admin: AdminSession) -> Any:
        return [match.title for match in explanation.find(admin, understand(f"{SECRET} is"), workspace()).matches]

    def explained(admin: AdminSession) -> Any:
        [match] = explanation.find(admin, name, workspace()).matches
        return explanation.explain(admin, match, show_texts=True).document

    def status(admin: AdminSession) -> Any:
        document = outbox_status.outbox_status(admin)
        document["backlog"] |= {"oldest_due_seconds": 0, "worst": []}  # they grow while we look
        return document

    def standings(admin: AdminSession) -> Any:
        shown = ("workspace", "states", "waiting", "dead", "valid", "calendar")
        return [[row[name] for name in shown] for row in workspaces.listed(admin).rows]

    def of_one(admin: AdminSession) -> Any:
        document = workspaces.workspace_status(admin, workspace(), datetime.now(UTC))
        document["waiting"]["oldest_due_seconds"] = 0  # it grows too
        return document

    def linted(admin: AdminSession) -> Any:
        document = lint.lint(admin).document()
        assert document["outbox"]["rows"] > 3
        assert document["view"]["rows"] > 0
        return document | {"view": document["view"] | {"origin": "a function of ours"}}

    logins.rows.connection.execute(
        "insert into sync_pulses (minute, replica, started_at, host, version, settings, gate, breaker, in_flight_items,"
        " in_flight_requests, lag, counts) values (date_trunc('minute', now()) - interval '5 min', gen_random_uuid(),"
        " now(), 'pod', '1.0', '{}', 'armed', 'closed', 0, 0, 0, '{\"applied\": 3}')"
    )
    now = datetime.now(UTC)
    return {
        "status": status,
        "pulses": lambda admin: {"trend": pulses.activity(admin, now=now), "replicas": pulses.replicas(admin)},
        "causes": lambda admin: dead_letters.causes(admin, LetterFilter(), cap=10, looks=10),
        "letter": lambda admin: dead_letters.letter(admin, item),
        "letter with words": lambda admin: dead_letters.letter(admin, item, show_texts=True),
        "forecast": lambda admin: dead_letters.forecast(admin, LetterFilter(), cap=10, looks=10),
        "brakes": brakes.stopped,
        "connections": lambda admin: connections.listed(admin).rows,
        "locks": lambda admin: locks.held(admin).rows,
        "explanation": explained,
        "title": of_title,
        "rebuild": lambda admin: (
            rebuilds.forecast(admin, workspace(), recreate=False) | {"state": "a function of ours"}
        ),
        "progress": lambda admin: rebuild_progress.rebuild_progress(admin, rebuild),
        "acts": acts.listed,
        "workspaces": standings,
        "workspace": of_one,
        "stopped": brakes.page,
        "sample": lambda admin: brakes.sample(admin, brakes.stopped(admin, workspace("off"))[0]),
        "rebuilds": rebuild_progress.listed,
        "invitations": lambda admin: invitations.listed(admin, workspace()),
        "lint": linted,
        "replicas": lambda admin: replicas.replica_status(admin, NOW),
    }


WITH_WORDS = {"letter with words", "explanation", "title"}


@pytest.mark.parametrize("role", EVERYBODY)
def test_every_look_of_the_desk_works_without_words(logins: Logins, role: str) -> None:
    """It says what it says to the reactor's own login, but for the words."""
    with logins.desk(role) as theirs, logins.desk("reactor") as ours:
        assert (theirs.hides_texts, ours.hides_texts) == (True, False)
        for name, look in looks(logins).items():
            found, whole = look(theirs), look(ours)
            assert not is_told(found), name
            if name in WITH_WORDS:
                assert is_told(whole), name
            else:
                plain = [json.loads(as_json(each)) if isinstance(each, dict) else each for each in (found, whole)]
                assert plain[0] == plain[1], name
        seen = looks(logins)["explanation"](theirs)
        assert theirs.one("show enable_seqscan")["enable_seqscan"] == "on", "as it was"
        assert seen["wanted"]["view"] == "has it (MILESTONE)"
        assert seen["wanted"]["title"] == "·" * len(f"{SECRET} is wanted")


def test_rights_are_what_the_login_may_do(logins: Logins) -> None:
    expected = {
        "viewer": LoginRights(viewer=True, operator=False, words=False),
        "operator": LoginRights(viewer=True, operator=True, words=False),
        "words": LoginRights(viewer=True, operator=False, words=True),
        "reactor": LoginRights(viewer=True, operator=True, words=True),
        "owner": LoginRights(viewer=True, operator=True, words=True),
    }
    for role, wanted in expected.items():
        with logins.desk(role) as admin:
            assert rights(admin) == wanted, role


def test_an_operator_acts_and_a_viewer_does_not(logins: Logins) -> None:
    which, off = LetterFilter(ids=[dead(logins)]), workspace("off")

    def requeue(admin: AdminSession) -> None:
        run = requeue_run.begin(admin, which, dead_letters.forecast(admin, which), 1000.0, BY)
        requeue_run.requeue(admin, run, lambda *_: None)
        assert (run.act.done, run.refused) == (1, [])

    done: list[Callable[[AdminSession], Any]] = [
        requeue,
        lambda admin: brakes.release(admin, brakes.stopped(admin, off)[0], BY),
        lambda admin: connections.set_valid(admin, off, valid=True, by=BY),
        lambda admin: connections.set_valid(admin, off, valid=False, by=BY),
        lambda admin: rebuilds.start(admin, rebuilds.forecast(admin, workspace(), recreate=True), BY),
    ]
    with logins.session("owner") as owner:
        for act in done:
            before = owner.execute(STATE.encode()).fetchone()
            with logins.desk("viewer") as admin, pytest.raises((errors.InsufficientPrivilege, ConfigurationError)):
                act(admin)
            assert owner.execute(STATE.encode()).fetchone() == before
            with logins.desk("operator") as admin:
                act(admin)
            assert owner.execute(STATE.encode()).fetchone() != before
    with logins.desk("viewer") as admin:
        said = [(row["who"], row["act"]) for row in acts.listed(admin).rows]
    assert said == [
        ("ada", each) for each in ("rebuild", "connection disable", "connection enable", "brake release", "requeue")
    ]


BEYOND = [
    "update sync_outbox set status = 'PROCESSING' where status = 'DEAD_LETTER'",
    "update sync_outbox set payload = '{}'",
    """insert into sync_outbox (workspace_id, operation, payload)
       select workspace_id, 'CANCEL_EVENT', '{}' from google_connections""",
    """insert into sync_outbox (workspace_id, operation, payload)
       select workspace_id, 'REBUILD_ALL', jsonb_build_object('operation', 'REBUILD_ALL', 'workspaceId', workspace_id,
              'calendarId', 'mine@example.com') from google_connections""",
    "update google_connections set calendar_id = 'mine@example.com'",
    "update google_connections set refresh_token_encrypted = 'x'",
    "delete from sync_acts",
    "update sync_acts set who = 'bob'",
    "insert into sync_acts (at, who, how, act) values ('2020-01-01', 'bob', 'console', 'requeue')",
    "update sync_brakes set deletes = 0",
    "update sync_invitations set expires_at = 'infinity'",
    """insert into sync_invitations (hash, workspace_id, calendar_id, invited_by, expires_at)
       select sha256('x'), workspace_id, 'mine@example.com', 'bob', 'infinity' from google_connections""",
    "select calendar_sync.words(id, 'bob', 'console', 'why not') from sync_outbox",
]


@pytest.mark.parametrize("statement", BEYOND)
def test_an_operator_does_no_more_than_that(logins: Logins, statement: str) -> None:
    with logins.session("operator") as session, pytest.raises(errors.InsufficientPrivilege):
        session.execute(statement.encode())


def test_what_is_recorded_stays_so(logins: Logins) -> None:
    """A run that goes on says how far it is; nothing else of an act is ever changed, nor a run that has ended."""
    before = logins.rows.one(STATE)
    with logins.session("operator") as session, session.transaction(force_rollback=True):
        assert session.execute("update sync_acts set result = '{}'").rowcount == 0
    with logins.desk("operator") as admin:
        run = act_run.begin(admin, BY, acts.ActKind.REQUEUE, of=2)
        run.proceed(admin, 1)
        assert acts.act(admin, run.id)["result"]["done"] == 1
        act_run.stop(admin, run.id, BY)
        run.proceed(admin, 2)
        assert run.stops
        run.end(admin, act_run.RunState.STOPPED)
        run.proceed(admin, 7)
        assert acts.act(admin, run.id)["result"]["done"] == 2
    assert logins.rows.one(STATE) != before


@pytest.mark.parametrize("role", ["words", "reactor"])
def test_each_look_at_words_is_an_act_with_a_reason(logins: Logins, role: str) -> None:
    item = dead(logins)
    with logins.desk(role) as admin:
        before = acts.listed(admin).rows
        with pytest.raises(ConfigurationError, match="Say why"):
            words(admin, item, ActAuthor("ada", "console"))
        assert words(admin, UUID(int=1), BY) is None
        assert acts.listed(admin).rows == before
        assert words(admin, item, BY)["event"]["title"] == f"{SECRET} is closed"
        [look, *_] = acts.listed(admin).rows
    assert (look["who"], look["act"], look["reason"], look["target"]["item"]) == ("ada", "words", "INC-1", str(item))
    assert not is_told(look)


@pytest.mark.parametrize("role", ["words", "reactor"])
def test_a_command_looks_at_words_as_the_page_does(logins: Logins, role: str) -> None:
    show = ("dead-letters", "show", str(item := dead(logins)), "--show-texts", "--reason", "INC-2")
    assert is_told(call(logins.dsn[role], *show).stdout)
    with logins.desk(role) as admin:
        [look, *_] = acts.listed(admin).rows
    assert (look["act"], look["how"], look["reason"]) == ("words", "command", "INC-2")
    assert look["target"]["item"] == str(item)
    refused = call(logins.dsn["viewer"], *show)
    assert (refused.exit_code, is_told(refused.output), "may not do this" in refused.stderr) == (2, False, True)


@pytest.mark.parametrize("reason", ["null", "''", "'  '"])
def test_words_are_not_read_without_a_reason_in_sql_either(logins: Logins, reason: str) -> None:
    with logins.session("words") as session:
        with pytest.raises(errors.CheckViolation, match="Say why"):
            session.execute(f"select calendar_sync.words(id, 'ada', 'console', {reason}) from sync_outbox".encode())
        with pytest.raises(errors.InsufficientPrivilege):
            session.execute("select payload from sync_outbox")


def drawn(chance: random.Random, depth: int = 0) -> Any:
    """Something with the secret somewhere in it, as a value or a name."""
    match chance.randrange(6 if depth < 3 else 3):
        case 0:
            return SECRET
        case 1:
            return f"see {SECRET} at 9"
        case 2:
            return f"RRULE:{SECRET}\x07"
        case 3:
            return [drawn(chance, depth + 1), 1]
        case 4:
            return {SECRET: None, "title": drawn(chance, depth + 1)}
        case _:
            return {"event": drawn(chance, depth + 1)}


PLACES = [
    *((name,) for name in ("operation", "eventType", "workspaceId", "recreate", "event", "other", SECRET)),
    *(("event", name) for name in (*EVENT["event"], "colorId", "isAllDay", "reminders", "attendees")),
    ("event", "reminders", "useDefault"),
    ("event", "reminders", "overrides"),
]


def test_a_word_is_hidden_wherever_it_stands(logins: Logins) -> None:
    chance, payloads = random.Random(11), []
    for place in PLACES * 6:
        payload = json.loads(json.dumps({"operation": "UPSERT_EVENT", "event": {"reminders": {"overrides": []}}}))
        inner = payload
        for name in place[:-1]:
            inner = inner[name]
        inner[place[-1]] = drawn(chance)
        payloads.append(payload)
    payloads += [[SECRET], SECRET, {"event": SECRET}]
    with logins.session("viewer") as session:
        for payload in payloads:
            [hidden] = session.execute("select calendar_sync.redacted(%s)", (Jsonb(payload),)).fetchone() or [None]
            assert not is_told(json.dumps(hidden, ensure_ascii=False)), payload


GOOD = {"operation": "UPSERT_EVENT", "workspaceId": str(workspace()), "calendarId": "team@example.com"} | {
    "sourceType": "task",
    "sourceId": source(),
    "eventType": "MILESTONE",
}
VALUES: dict[str, list[Any]] = {
    "title": ["a", "ä" * 500, "x" * 501, "", 12, None, "  "],
    "description": ["", None, "words\nand 😀 more", 8],
    "location": ["here", None],
    "start": ["2026-12-01T09:00:00Z", "2026-12-01", "tomorrow"],
    "end": ["2026-12-01T10:00:00+01:00", "2026-12-01T10:00:00.5Z", "2026-12-02"],
    "isAllDay": [True, False, None, ""],
    "timeZone": ["Europe/Berlin", "", "no zone"],
    "colorId": ["7", 7, "700"],
    "recurrence": [["RRULE:FREQ=WEEKLY;COUNT=4"], ["EXDATE;TZID=Europe/Berlin:20261201T090000"], ["weekly"], [], "x"],
    "reminders": [{"useDefault": True}, {"overrides": [{"method": "popup", "minutes": 10}]}, {"overrides": [{}]}, None],
}


def verdict(payload: Any) -> Any:
    try:
        parse("UPSERT_EVENT", workspace(), payload)
    except BadPayloadError as error:
        return error.problems
    row = {"operation": "UPSERT_EVENT", "workspace": workspace(), "source": "task:x", "generation": 0, "event_id": "e"}
    return preview(row, payload, show_texts=False)


def test_without_its_words_a_payload_is_judged_and_shown_as_with_them(logins: Logins) -> None:
    chance, taken = random.Random(5), 0
    with logins.session("viewer") as session:
        for _ in range(300):
            usual = {name: values[0] for name, values in VALUES.items() if name in ("title", "start", "end")}
            some = {name: chance.choice(VALUES[name]) for name in chance.sample(sorted(VALUES), 3)}
            payload = GOOD | {"event": usual | some}
            [hidden] = session.execute("select calendar_sync.redacted(%s)", (Jsonb(payload),)).fetchone() or [None]
            assert verdict(hidden) == verdict(payload), payload
            taken += isinstance(verdict(payload), dict)
    assert taken > 20


def test_commands_that_look_work_with_a_viewers_login(logins: Logins) -> None:
    shown = call(logins.dsn["viewer"], "dead-letters", "show", str(dead(logins)), "--show-texts")
    assert (shown.exit_code, is_told(shown.output), "may not read texts" in shown.stderr) == (0, False, True)
    for command in ("status", "locks", "acts list", "connections list", "brake list", "dead-letters list"):
        said = call(logins.dsn["viewer"], *command.split())
        assert said.exit_code in (0, 1), (command, said.output)
    refused = call(logins.dsn["viewer"], "dead-letters", "requeue", "--all")
    assert (refused.exit_code, "may not do this" in refused.stderr) == (2, True)
