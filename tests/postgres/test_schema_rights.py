"""Row level security stays on: the reactor's role can do its work and nothing else, an application's its own."""

import os
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from reactor.postgres.setup import schema
from reactor.postgres.setup.migrations import migrate
from tests.support.databases import Database, Server, deploy

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def reactor(database: Database) -> Iterator[Connection]:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("create table secrets (secret text)")
        owner.execute(
            "insert into sync_outbox (workspace_id, operation, payload) "
            "select gen_random_uuid(), 'UPSERT_EVENT', '{}' from generate_series(1, 3)"
        )
        owner.execute("insert into google_connections values (default, gen_random_uuid(), 'token', 'primary')")
    with psycopg.connect(database.reactor, autocommit=True) as connection:
        yield connection


def test_the_reactor_is_held_by_row_level_security_and_sees_every_workspace(reactor: Connection) -> None:
    assert reactor.execute("select count(*) from sync_outbox").fetchone() == (3,)
    is_above = reactor.execute("select rolsuper or rolbypassrls from pg_roles where rolname = current_user")
    assert is_above.fetchone() == (False,)


WORK = """
update sync_outbox set status = 'PROCESSING', claim_no = nextval('sync_claim_no')
 returning sync_source_key(payload, id);
insert into sync_outbox (workspace_id, operation, payload, parent_id)
values (gen_random_uuid(), 'CANCEL_EVENT', '{}', gen_random_uuid());
delete from sync_outbox;
insert into sync_sources (workspace_id, source_key) values (gen_random_uuid(), 'task:1')
    on conflict (workspace_id, source_key) do update set floor_seq = 1;
update sync_sources set generation = generation + 1;
delete from sync_sources;
update sync_pulses set lag = 0;
delete from sync_pulses;
insert into calendar_event_bindings (workspace_id, google_event_id, calendar_id, source_type, source_id, event_type)
values (gen_random_uuid(), 'e', 'c', 'task', gen_random_uuid(), 'MILESTONE');
update calendar_event_bindings set last_synced_at = now();
delete from calendar_event_bindings;
update google_connections set is_valid = false;
update google_connections set refresh_token_encrypted = 'rotated', is_valid = true;
insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id)
values (gen_random_uuid(), 't', 'c');
select try_lock_outbox_item(id), unlock_outbox_item(id) from sync_outbox;
select pg_try_advisory_lock(718300, 1), pg_try_advisory_xact_lock(718300, 0);
select sync_outbox_cleanup_chunk(30, 100), cleanup_old_outbox_items(30);
listen sync_outbox
"""


@pytest.mark.parametrize("statement", WORK.split(";"))
def test_the_reactor_can_do_its_work(reactor: Connection, statement: str) -> None:
    reactor.execute(statement.encode())


@pytest.mark.parametrize(
    "statement",
    [
        b"select * from secrets",
        b"create table mine (id int)",
        b"create function f() returns int language sql as 'select 1'",
        b"create schema mine",
        b"truncate sync_outbox",
        b"drop index sync_outbox_open",
        b"alter table sync_outbox disable trigger sync_outbox_wake_insert",
        b"alter table sync_outbox disable row level security",
        b"delete from google_connections",
        b"select setval('sync_outbox_seq', 1)",
        b"insert into _yoyo_migration values ('x', 'y', now())",
        b"select * from _yoyo_log",
        b"create role another",
        b"copy sync_outbox to program 'cat'",
    ],
)
def test_the_reactor_cannot_do_anything_else(reactor: Connection, statement: bytes) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reactor.execute(statement)


@pytest.fixture
def owner_and_editor(postgres: Server, migrated_template: str, empty_database: str) -> Iterator[tuple[str, str]]:
    """A deployment's owner, who is no superuser, and an editor of one workspace under row level security."""
    names = [f"reactor_{name}_{os.getpid()}" for name in ("owner", "editor")]
    owner, editor = (make_conninfo(empty_database, user=name, password="p") for name in names)
    roles = [sql.Identifier(name) for name in names]
    with psycopg.connect(empty_database, autocommit=True) as admin:
        for role in roles:
            admin.execute(sql.SQL("create role {} login createrole password 'p'").format(role))
        admin.execute(sql.SQL("grant all on schema public to {}").format(roles[0]))
    deploy(owner, items=2_000)
    with psycopg.connect(owner) as connection:
        connection.execute(
            sql.SQL("grant select, insert, update on all tables in schema public to {}").format(roles[1])
        )
        connection.execute(
            "insert into workspace_members select id, %s from workspaces where name = 'workspace 7'", (names[1],)
        )
    yield owner, editor
    with psycopg.connect(empty_database, autocommit=True) as admin:
        for role in roles:
            admin.execute(sql.SQL("drop owned by {} cascade").format(role))
            admin.execute(sql.SQL("drop role {}").format(role))


def test_an_editor_of_one_workspace_goes_on_as_before(owner_and_editor: tuple[str, str]) -> None:
    """Defaults, index expressions and triggers run with the rights of whoever writes."""
    owner_dsn, editor_dsn = owner_and_editor
    migrate(owner_dsn, progress=lambda _: None)
    with psycopg.connect(editor_dsn, autocommit=True) as editor, psycopg.connect(owner_dsn, autocommit=True) as owner:
        [workspace] = editor.execute("select workspace_id from workspace_members").fetchone() or [None]
        insert = "insert into sync_outbox (workspace_id, operation, payload) values (%s, 'UPSERT_EVENT', '{}')"
        editor.execute(insert, (workspace,))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            editor.execute(insert, ("00000000-0000-0000-0000-000000000000",))
        editor.execute("update sync_outbox set status = 'PENDING' where status = 'COMPLETED'")
        assert editor.execute("select count(*) from sync_outbox where seq is null").fetchone() == (0,)
        for table in ("_yoyo_migration", "_yoyo_log", "sync_sources"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                editor.execute(sql.SQL("select from {}").format(sql.Identifier(table)))

        # A connection that works again requeues with the owner's rights.
        owner.execute(sql.SQL("revoke update on sync_outbox from {}").format(sql.Identifier(editor.info.user)))
        owner.execute("update sync_outbox set failure_code = 'AUTH' where status = 'DEAD_LETTER'")
        dead = "select workspace_id, count(*) from sync_outbox where failure_code = 'AUTH' group by 1"
        before: dict[object, int] = dict(owner.execute(dead).fetchall())
        editor.execute("update google_connections set is_valid = true")
        after: dict[object, int] = dict(owner.execute(dead).fetchall())
        assert before.pop(workspace) > 0
        assert after == before


def test_an_owner_who_is_no_superuser_makes_the_roles_of_the_console(
    owner_and_editor: tuple[str, str], empty_database: str
) -> None:
    """Its views see every workspace; the login that reads them sees no text."""
    owner_dsn, _ = owner_and_editor
    migrate(owner_dsn, progress=lambda _: None)
    with (
        psycopg.connect(owner_dsn, autocommit=True) as owner,
        psycopg.connect(empty_database, autocommit=True) as admin,
    ):
        database = sql.Identifier(owner.info.dbname)
        admin.execute(sql.SQL("grant create on database {} to {}").format(database, sql.Identifier(owner.info.user)))
        for _ in range(2):
            owner.execute((schema.directory() / "console.sql").read_bytes())
        [rows] = owner.execute("select count(*) from sync_outbox").fetchone() or [0]
        admin.execute("set role calendar_sync_viewer")
        titles = "select count(*), string_agg(payload #>> '{event,title}', '') ~ '^·+$' from calendar_sync.sync_outbox"
        assert admin.execute(titles).fetchone() == (rows, True)
        assert admin.execute("select count(id) from sync_outbox").fetchone() == (rows,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            admin.execute("select count(payload) from sync_outbox")
        admin.execute("reset role")
