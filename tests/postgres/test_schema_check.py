"""What is missing is named, and put right by the next migration."""

import threading
from collections.abc import Callable

import psycopg
import pytest

from reactor.errors import ConfigurationError, TransientError
from reactor.postgres.setup import schema
from reactor.postgres.setup.migrations import migrate, missing
from tests.support.databases import Database, catalogue, wait_until


def silent(_: str) -> None:
    """Report nothing."""


def test_an_empty_database_lacks_everything(empty_database: str) -> None:
    found = missing(empty_database)
    assert [sentence for sentence in found if sentence.startswith("Migration ")] == [
        f"Migration {script.id} is not applied." for script in schema.migrations()
    ]
    assert "Function sync_outbox_wake is missing." in found
    assert "Trigger sync_outbox_wake_insert on sync_outbox is missing." in found


def test_a_half_migrated_database_lacks_the_rest(empty_database: str) -> None:
    def stop_there(sentence: str) -> None:
        if sentence == "Applying 0012_sync_outbox_open.":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        migrate(empty_database, progress=stop_there)
    found = missing(empty_database)
    assert "Migration 0011_source_key is not applied." not in found
    assert "Migration 0012_sync_outbox_open is not applied." in found
    migrate(empty_database, progress=silent)
    assert missing(empty_database) == []


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (
            b"drop trigger sync_outbox_wake_insert on sync_outbox",
            "Trigger sync_outbox_wake_insert on sync_outbox is missing.",
        ),
        (
            b"alter table sync_outbox disable trigger zz_sync_outbox_forget_claim",
            "Trigger zz_sync_outbox_forget_claim on sync_outbox is disabled.",
        ),
        (
            b"alter table sync_outbox disable trigger zz_sync_outbox_place_update",
            "Trigger zz_sync_outbox_place_update on sync_outbox is disabled.",
        ),
        (
            b"alter table google_connections enable replica trigger google_connections_restored_update",
            "Trigger google_connections_restored_update on google_connections is disabled.",
        ),
        (
            b"comment on trigger sync_outbox_wake_update on sync_outbox is 'calendar-sync reactor, of last year'",
            "Trigger sync_outbox_wake_update on sync_outbox is not the one in triggers.sql.",
        ),
        (
            b"create or replace function sync_outbox_wake() returns trigger language plpgsql as 'begin end'",
            "Function sync_outbox_wake is not the one in triggers.sql.",
        ),
        (b"drop index sync_outbox_due", "Index sync_outbox_due is missing."),
        (
            b"update pg_index set indisvalid = false where indexrelid = 'sync_outbox_open'::regclass",
            "Index sync_outbox_open is invalid: its build was interrupted.",
        ),
        (b"drop function unlock_outbox_item(uuid)", "Function unlock_outbox_item is missing."),
        (
            b"create or replace function sync_touch() returns trigger language plpgsql as 'begin return new; end'",
            "Function sync_touch is not the one in 0002_touch_functions.sql.",
        ),
        (
            b"drop policy calendar_sync_reactor on sync_outbox",
            "Policy calendar_sync_reactor on sync_outbox is missing.",
        ),
        (
            b"drop policy calendar_sync_reactor on _yoyo_migration",
            "Policy calendar_sync_reactor on _yoyo_migration is missing.",
        ),
    ],
)
def test_damage_is_named_and_repaired(database: Database, damage: bytes, sentence: str) -> None:
    whole = catalogue(database.owner)
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(damage)
    assert missing(database.owner) == [sentence]
    migrate(database.owner, progress=silent)
    assert missing(database.owner) == []
    assert catalogue(database.owner) == whole


def test_the_reactor_may_ask_what_is_missing(database: Database) -> None:
    assert missing(database.reactor) == []


def in_the_background(work: Callable[[], None]) -> tuple[threading.Thread, list[Exception]]:
    failures: list[Exception] = []

    def guarded() -> None:
        try:
            work()
        except (ConfigurationError, TransientError) as error:
            failures.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    return thread, failures


def waits_for_a_transaction(dsn: str) -> Callable[[], bool]:
    def look() -> bool:
        with psycopg.connect(dsn) as connection:
            row = connection.execute(
                "select count(*) from pg_stat_activity where datname = current_database() "
                "and application_name = 'calendar-sync migrate' and wait_event = 'virtualxid'"
            ).fetchone()
        return row == (1,)

    return look


def test_a_build_that_is_killed_is_noticed_and_done_again(deployed_database: str) -> None:
    with psycopg.connect(deployed_database) as report, psycopg.connect(deployed_database, autocommit=True) as other:
        report.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        report.execute("select count(*) from workspaces")
        [workspace] = other.execute("select id from workspaces").fetchone() or [None]
        thread, failures = in_the_background(lambda: migrate(deployed_database, progress=silent))
        wait_until(waits_for_a_transaction(deployed_database))
        # The build waits for the report, and nobody waits for the build.
        other.execute("set lock_timeout = '1ms'")
        other.execute(
            "insert into sync_outbox (workspace_id, operation, payload) values (%s, 'REBUILD_ALL', '{}')", (workspace,)
        )
        other.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() "
            "and application_name = 'calendar-sync migrate'"
        )
        thread.join()
    assert [type(failure) for failure in failures] == [TransientError]
    with psycopg.connect(deployed_database) as owner:
        invalid = owner.execute("select indexrelid::regclass::text from pg_index where not indisvalid").fetchall()
    assert len(invalid) == 1
    migrate(deployed_database, progress=silent)
    assert missing(deployed_database) == []


def test_two_migrations_at_once_do_not_meet(empty_database: str) -> None:
    reports: list[str] = []
    second: list[tuple[threading.Thread, list[Exception]]] = []

    def start_another(sentence: str) -> None:
        if sentence == "Applying 0008_outbox_columns.":
            second.append(in_the_background(lambda: migrate(empty_database, progress=reports.append)))
            wait_until(lambda: bool(reports))

    migrate(empty_database, progress=start_another)
    [(thread, failures)] = second
    thread.join()
    assert (reports, failures) == (["Another migration is running; waiting for it."], [])


@pytest.mark.parametrize(
    ("obstacle", "message"),
    [
        (
            b"create type outbox_status as enum ('PENDING', 'DONE')",
            "outbox_status exists but has not all of the values",
        ),
        (b"create table sync_outbox (id uuid)", "sync_outbox exists but lacks: workspace_id, operation"),
        (b"create table google_connections (workspace_id uuid)", "google_connections exists but lacks: refresh_token"),
        (b"create table calendar_event_bindings (id uuid)", "calendar_event_bindings exists but lacks: workspace_id"),
    ],
)
def test_a_schema_that_cannot_be_adopted_is_refused(empty_database: str, obstacle: bytes, message: str) -> None:
    with psycopg.connect(empty_database, autocommit=True) as owner:
        owner.execute(obstacle)
    with pytest.raises(ConfigurationError, match=message):
        migrate(empty_database, progress=silent)


def test_a_database_that_cannot_be_reached_may_be_there_later(postgres: object, tmp_path: object) -> None:
    for ask in (missing, lambda dsn: migrate(dsn, progress=silent)):
        with pytest.raises(TransientError):
            ask(f"host={tmp_path} dbname=nowhere")


def test_the_reactor_must_not_migrate(database: Database) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("drop trigger sync_outbox_wake_insert on sync_outbox")
    with pytest.raises(ConfigurationError, match="takes the owner of the tables"):
        migrate(database.reactor, progress=silent)
