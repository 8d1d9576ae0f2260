"""An empty database gets the whole contract, from the command and from psql alike."""

import json
import os
import subprocess
import uuid

import psycopg
import pytest

from reactor.postgres.setup import schema
from reactor.postgres.setup.migrations import migrate, missing
from tests.support.databases import Database, Server, catalogue

NOW = "now()"
OUTBOX = {
    "id": ("uuid", False, "gen_random_uuid()"),
    "workspace_id": ("uuid", False, None),
    "operation": ("outbox_operation", False, None),
    "payload": ("jsonb", False, None),
    "status": ("outbox_status", False, "'PENDING'::outbox_status"),
    "attempts": ("integer", False, "0"),
    "max_attempts": ("integer", False, "5"),
    "next_attempt_at": ("timestamp with time zone", False, NOW),
    "last_error": ("text", True, None),
    "created_at": ("timestamp with time zone", False, NOW),
    "updated_at": ("timestamp with time zone", False, NOW),
    "processed_at": ("timestamp with time zone", True, None),
    "seq": ("bigint", True, "nextval('sync_outbox_seq'::regclass)"),
    "claim_no": ("bigint", True, None),
    "parent_id": ("uuid", True, None),
    "failure_code": ("text", True, None),
    "lease_no": ("bigint", True, None),
    "losses": ("smallint", True, None),
}
BINDINGS = {
    "id": ("uuid", False, "gen_random_uuid()"),
    "workspace_id": ("uuid", False, None),
    "google_event_id": ("text", False, None),
    "calendar_id": ("text", False, None),
    "source_type": ("text", False, None),
    "source_id": ("uuid", False, None),
    "event_type": ("calendar_event_type", False, None),
    "event_title": ("text", True, None),
    "event_start": ("timestamp with time zone", True, None),
    "event_end": ("timestamp with time zone", True, None),
    "last_synced_at": ("timestamp with time zone", True, None),
    "sync_version": ("integer", False, "1"),
    "created_at": ("timestamp with time zone", False, NOW),
    "updated_at": ("timestamp with time zone", False, NOW),
}
CONNECTIONS = {
    "id": ("uuid", False, "gen_random_uuid()"),
    "workspace_id": ("uuid", False, None),
    "refresh_token_encrypted": ("text", False, None),
    "calendar_id": ("text", False, None),
    "is_valid": ("boolean", False, "true"),
    "created_at": ("timestamp with time zone", False, NOW),
    "updated_at": ("timestamp with time zone", False, NOW),
}
SOURCES = {
    "workspace_id": ("uuid", False, None),
    "source_key": ("text", False, None),
    "floor_seq": ("bigint", False, "0"),
    "generation": ("integer", False, "0"),
    "google_event_id": ("text", True, None),
    "calendar_id": ("text", True, None),
    "etag": ("text", True, None),
    "payload": ("jsonb", True, None),
    "cancelled": ("boolean", False, "false"),
    "reopen": ("boolean", False, "false"),
    "strays": ("text[]", False, "'{}'::text[]"),
    "updated_at": ("timestamp with time zone", False, NOW),
    "removed_at": ("timestamp with time zone", True, None),
}
ACTS = {
    "id": ("bigint", False, None),
    "at": ("timestamp with time zone", False, "clock_timestamp()"),
    "who": ("text", False, None),
    "how": ("text", False, None),
    "act": ("text", False, None),
    "workspace_id": ("uuid", True, None),
    "target": ("jsonb", False, "'{}'::jsonb"),
    "reason": ("text", True, None),
    "forecast": ("jsonb", True, None),
    "result": ("jsonb", True, None),
}
INVITATIONS = {
    "hash": ("bytea", False, None),
    "workspace_id": ("uuid", False, None),
    "calendar_id": ("text", False, None),
    "invited_by": ("text", False, None),
    "invited_at": ("timestamp with time zone", False, "clock_timestamp()"),
    "expires_at": ("timestamp with time zone", False, None),
    "used_at": ("timestamp with time zone", True, None),
    "revoked_at": ("timestamp with time zone", True, None),
}
COLUMNS = """
select attname, format_type(atttypid, atttypmod), not attnotnull, pg_get_expr(adbin, adrelid)
  from pg_attribute left join pg_attrdef on adrelid = attrelid and adnum = attnum
 where attrelid = %s::regclass and attnum > 0 and not attisdropped
"""


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ("sync_outbox", OUTBOX),
        ("calendar_event_bindings", BINDINGS),
        ("google_connections", CONNECTIONS),
        ("sync_sources", SOURCES),
        ("sync_acts", ACTS),
        ("sync_invitations", INVITATIONS),
    ],
)
def test_a_table_is_as_the_contract_says(
    database: Database, table: str, expected: dict[str, tuple[str, bool, str | None]]
) -> None:
    with psycopg.connect(database.owner) as owner:
        assert {name: tuple(rest) for name, *rest in owner.execute(COLUMNS, (table,))} == expected
        secured = owner.execute("select relrowsecurity from pg_class where oid = %s::regclass", (table,)).fetchone()
        assert secured == (True,)


@pytest.mark.parametrize(
    ("enum", "values"),
    [
        ("outbox_operation", ["UPSERT_EVENT", "CANCEL_EVENT", "REBUILD_ALL"]),
        ("outbox_status", ["PENDING", "PROCESSING", "COMPLETED", "FAILED", "DEAD_LETTER"]),
        ("calendar_event_type", ["GATE_REVIEW", "BLOCKER_DEADLINE", "MILESTONE", "PROJECT_REVIEW"]),
    ],
)
def test_an_enum_has_its_values(database: Database, enum: str, values: list[str]) -> None:
    with psycopg.connect(database.owner) as owner:
        found = owner.execute(
            "select enumlabel from pg_enum where enumtypid = %s::regtype order by 1", (enum,)
        ).fetchall()
    assert [value for (value,) in found] == sorted(values)


@pytest.mark.parametrize(("attempts", "maximum"), [(-1, 5), (6, 5)])
def test_attempts_stay_between_zero_and_their_maximum(database: Database, attempts: int, maximum: int) -> None:
    with psycopg.connect(database.owner) as owner, pytest.raises(psycopg.errors.CheckViolation):
        owner.execute(
            "insert into sync_outbox (workspace_id, operation, payload, attempts, max_attempts) "
            "values (gen_random_uuid(), 'REBUILD_ALL', '{}', %s, %s)",
            (attempts, maximum),
        )


def test_one_binding_per_source_and_one_connection_per_workspace(database: Database) -> None:
    binding = (
        "insert into calendar_event_bindings "
        "(workspace_id, google_event_id, calendar_id, source_type, source_id, event_type) "
        f"values ('{uuid.UUID(int=1)}', 'e', 'c', 'task', '{uuid.UUID(int=2)}', 'MILESTONE')"
    )
    connection = f"insert into google_connections values (default, '{uuid.UUID(int=1)}', 't', 'c')"
    for statement in (binding.encode(), connection.encode()):
        with psycopg.connect(database.owner, autocommit=True) as owner:
            owner.execute(statement)
            with pytest.raises(psycopg.errors.UniqueViolation):
                owner.execute(statement)


def test_updates_are_dated_and_versions_counted(database: Database) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(
            "insert into calendar_event_bindings "
            "(workspace_id, google_event_id, calendar_id, source_type, source_id, event_type, updated_at) "
            "values (gen_random_uuid(), 'e', 'c', 'task', gen_random_uuid(), 'MILESTONE', 'epoch')"
        )
        owner.execute(
            "insert into sync_outbox (workspace_id, operation, payload, updated_at) "
            "values (gen_random_uuid(), 'REBUILD_ALL', '{}', 'epoch')"
        )
        owner.execute("update calendar_event_bindings set event_title = 'x'")
        owner.execute("update sync_outbox set last_error = 'x'")
        versions = owner.execute("select sync_version, updated_at = now() from calendar_event_bindings")
        assert versions.fetchall() == [(2, False)]  # a transaction later
        for table in (b"calendar_event_bindings", b"sync_outbox"):
            recent = owner.execute(b"select now() - updated_at < interval '1 minute' from " + table)
            assert recent.fetchall() == [(True,)]


def test_an_item_is_locked_by_the_hash_of_its_id_as_one_bigint(database: Database) -> None:
    item = uuid.uuid4()
    held = "select ((classid::bigint << 32) | objid::bigint) from pg_locks where locktype = 'advisory' and objsubid = 1"
    with psycopg.connect(database.owner, autocommit=True) as worker, psycopg.connect(database.reactor) as other:
        assert worker.execute("select try_lock_outbox_item(%s)", (item,)).fetchone() == (True,)
        assert worker.execute(held).fetchall() == worker.execute("select hashtext(%s)::bigint", (str(item),)).fetchall()
        assert other.execute("select try_lock_outbox_item(%s)", (item,)).fetchone() == (False,)
        assert worker.execute("select unlock_outbox_item(%s)", (item,)).fetchone() == (True,)
        assert other.execute("select pg_try_advisory_lock(hashtext(%s))", (str(item),)).fetchone() == (True,)


def test_a_source_key_is_bounded_and_falls_back_to_the_id(database: Database) -> None:
    key = "select sync_source_key(%s::jsonb, %s)"
    item = uuid.uuid4()
    with psycopg.connect(database.reactor) as reactor:
        assert reactor.execute(key, ('{"sourceType": "task", "sourceId": "7"}', item)).fetchone() == ("task:7",)
        long = json.dumps({"sourceType": "t" * 9000, "sourceId": "i" * 9000})
        assert reactor.execute(key, (long, item)).fetchone() == ("t" * 40 + ":" + "i" * 40,)
        for broken in ("{}", '{"sourceType": "task"}', '{"sourceId": null, "sourceType": 1}', "[]", "null", "7"):
            assert reactor.execute(key, (broken, item)).fetchone() == (str(item),)


def test_workspaces_are_referenced_where_they_exist(empty_database: str) -> None:
    with psycopg.connect(empty_database) as owner:
        owner.execute("create table workspaces (id uuid primary key)")
    migrate(empty_database, progress=lambda _: None)
    with psycopg.connect(empty_database) as owner:
        references = owner.execute(
            "select conrelid::regclass::text from pg_constraint where confrelid = 'workspaces'::regclass order by 1"
        )
        assert [table for (table,) in references] == ["calendar_event_bindings", "google_connections", "sync_outbox"]


def test_a_second_run_changes_nothing(empty_database: str) -> None:
    migrate(empty_database, progress=lambda _: None)
    before = catalogue(empty_database)
    done: list[str] = []
    migrate(empty_database, progress=done.append)
    assert (done, catalogue(empty_database), missing(empty_database)) == ([], before, [])


def test_psql_makes_the_same_schema(postgres: Server, empty_database: str, database: Database) -> None:
    if postgres.psql is None:
        pytest.skip("there is no psql")
    files = [script.path for script in [*schema.migrations(), schema.triggers(), schema.roles()]]
    for _ in range(2):  # each file may run twice
        for file in files:
            command = [postgres.psql, empty_database, "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(file)]
            result = subprocess.run(command, capture_output=True, text=True, check=False, env=dict(os.environ))
            assert (result.returncode, result.stdout) == (0, ""), result.stderr
    assert catalogue(empty_database) == catalogue(database.owner)
    migrate(empty_database, progress=lambda _: None)
    assert missing(empty_database) == []
    assert catalogue(empty_database) == catalogue(database.owner)


def test_each_trigger_bears_the_digest_of_its_definition() -> None:
    """By its comment a database knows which text a trigger was made from; renew it with the definition."""
    for script in [*schema.migrations(), schema.triggers()]:
        for trigger, comment in script.triggers.items():
            assert f"comment on trigger {trigger.name} on public.{trigger.table} is '{comment}';" in script.text
