"""What the triggers do for the application, for an older worker, and for the reactor."""

import uuid
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from reactor.postgres.setup.migrations import migrate
from tests.support.databases import Database

WORKSPACE = uuid.UUID(int=7)
INSERT = "insert into sync_outbox (workspace_id, operation, payload) values (%s, 'REBUILD_ALL', '{}') returning id"

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    with psycopg.connect(database.owner, autocommit=True) as connection:
        yield connection


@pytest.fixture
def listener(database: Database) -> Iterator[Connection]:
    """A session of the reactor that listens and, like a reactor that sleeps, holds the gate."""
    with psycopg.connect(database.reactor, autocommit=True) as connection:
        connection.execute("listen sync_outbox")
        connection.execute("select pg_advisory_lock(718300, 1)")
        yield connection


def heard(listener: Connection) -> int:
    """How many notifications arrived: those before this statement's answer are delivered with it."""
    listener.execute("select 1")
    return len(list(listener.notifies(timeout=0)))


def insert(owner: Connection) -> uuid.UUID:
    row = owner.execute(INSERT, (WORKSPACE,)).fetchone()
    assert row is not None
    return uuid.UUID(str(row[0]))


def test_an_insert_wakes_the_sleeper_once_however_many_rows(owner: Connection, listener: Connection) -> None:
    owner.execute(
        "insert into sync_outbox (workspace_id, operation, payload) "
        "select gen_random_uuid(), 'REBUILD_ALL', '{}' from generate_series(1, 100)"
    )
    assert heard(listener) == 1


def test_nobody_is_notified_while_nobody_sleeps(owner: Connection, listener: Connection) -> None:
    listener.execute("select pg_advisory_unlock_all()")
    insert(owner)
    assert heard(listener) == 0


def test_the_gate_is_granted_only_when_silent_writers_have_ended(owner: Connection, listener: Connection) -> None:
    listener.execute("select pg_advisory_unlock_all()")
    with owner.transaction():
        insert(owner)
        assert listener.execute("select pg_try_advisory_lock(718300, 1)").fetchone() == (False,)
    assert listener.execute("select pg_try_advisory_lock(718300, 1)").fetchone() == (True,)
    assert listener.execute("select count(*) from sync_outbox").fetchone() == (1,)


@pytest.mark.parametrize(
    ("before", "change", "wakes"),
    [
        ("PENDING", b"status = 'PROCESSING', claim_no = 1", 0),
        ("PROCESSING", b"status = 'COMPLETED', processed_at = now()", 0),
        ("PROCESSING", b"status = 'FAILED', attempts = 1, next_attempt_at = now() + interval '1 s'", 0),
        ("PROCESSING", b"status = 'DEAD_LETTER', failure_code = 'AUTH'", 0),
        ("FAILED", b"next_attempt_at = next_attempt_at + interval '1 s'", 0),
        ("PENDING", b"last_error = 'x'", 0),
        ("COMPLETED", b"next_attempt_at = next_attempt_at - interval '1 s'", 0),
        ("PROCESSING", b"status = 'PENDING'", 1),
        ("DEAD_LETTER", b"status = 'PENDING', attempts = 0", 1),
        ("FAILED", b"status = 'PENDING'", 1),
        ("FAILED", b"next_attempt_at = next_attempt_at - interval '1 s'", 1),
        ("PENDING", b"next_attempt_at = next_attempt_at - interval '1 s'", 1),
    ],
)
def test_an_update_wakes_when_it_makes_an_item_claimable(
    owner: Connection, listener: Connection, before: str, change: bytes, wakes: int
) -> None:
    insert(owner)
    owner.execute("update sync_outbox set status = %s", (before,))
    heard(listener)
    owner.execute(b"update sync_outbox set " + change)
    assert heard(listener) == wakes


def test_an_older_worker_s_claim_bears_no_number_of_ours(owner: Connection) -> None:
    insert(owner)
    owner.execute("update sync_outbox set status = 'PROCESSING', claim_no = nextval('sync_claim_no')")
    owner.execute("update sync_outbox set status = 'FAILED', next_attempt_at = now()")
    assert owner.execute("select claim_no from sync_outbox").fetchone() == (1,)
    owner.execute("update sync_outbox set status = 'PROCESSING', attempts = attempts + 1")  # as the older worker does
    assert owner.execute("select claim_no from sync_outbox").fetchone() == (None,)


def test_a_claim_of_ours_keeps_its_number(owner: Connection) -> None:
    insert(owner)
    for number in (1, 2):
        owner.execute("update sync_outbox set status = 'PROCESSING', claim_no = nextval('sync_claim_no')")
        assert owner.execute("select claim_no from sync_outbox").fetchone() == (number,)
        owner.execute("update sync_outbox set last_error = 'still working'")
        assert owner.execute("select claim_no from sync_outbox").fetchone() == (number,)
        owner.execute("update sync_outbox set status = 'FAILED'")


def test_an_item_cannot_be_without_a_place(owner: Connection) -> None:
    first = insert(owner)
    owner.execute(
        "insert into sync_outbox (workspace_id, operation, payload, seq) values (%s, 'REBUILD_ALL', '{}', null)",
        [WORKSPACE],
    )
    owner.execute("update sync_outbox set seq = null, last_error = 'written back without it' where id = %s", (first,))
    assert owner.execute("select seq from sync_outbox order by 1").fetchall() == [(1,), (3,)]


DEAD = """
insert into sync_outbox (workspace_id, operation, payload, status, attempts, failure_code, last_error, next_attempt_at)
select w::uuid, 'UPSERT_EVENT', '{}', 'DEAD_LETTER', 3, code, 'an error', 'epoch'
  from unnest(array[%s, '00000000-0000-0000-0000-000000000008']) as w, unnest(array['AUTH', 'BAD_REQUEST']) as code
"""
STATE = "select workspace_id, failure_code, attempts, last_error from sync_outbox where status = 'PENDING'"
CONNECT = """
insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id, is_valid) values (%s, 't', 'c', %s)
"""


@pytest.mark.parametrize(
    ("valid", "change"),
    [
        (None, None),
        (False, b"is_valid = true"),
        (True, b"refresh_token_encrypted = 'another'"),
        (False, b"is_valid = true, refresh_token_encrypted = 'another'"),
    ],
)
def test_a_connection_that_works_again_requeues_what_died_for_it(
    owner: Connection, listener: Connection, *, valid: bool | None, change: bytes | None
) -> None:
    if valid is not None:
        owner.execute(CONNECT, (WORKSPACE, valid))
    owner.execute(DEAD, (str(WORKSPACE),))
    heard(listener)
    if change is None:
        owner.execute(CONNECT, (WORKSPACE, True))
    else:
        owner.execute(b"update google_connections set " + change)
    assert owner.execute(STATE).fetchall() == [(WORKSPACE, None, 0, None)]
    assert owner.execute("select next_attempt_at > 'epoch' from sync_outbox where status = 'PENDING'").fetchone() == (
        True,
    )
    assert heard(listener) == 1


@pytest.mark.parametrize(
    ("valid", "change"),
    [
        (False, b"refresh_token_encrypted = 'another'"),
        (True, b"is_valid = false"),
        (True, b"calendar_id = 'another', is_valid = true"),
    ],
)
def test_other_changes_of_a_connection_requeue_nothing(
    owner: Connection, listener: Connection, *, valid: bool, change: bytes
) -> None:
    owner.execute(CONNECT, (WORKSPACE, valid))
    owner.execute(DEAD, (str(WORKSPACE),))
    heard(listener)
    owner.execute(b"update google_connections set " + change)
    assert owner.execute(STATE).fetchall() == []
    assert heard(listener) == 0


def test_a_connection_that_appears_wakes_even_where_nothing_died(owner: Connection, listener: Connection) -> None:
    owner.execute(CONNECT, (WORKSPACE, True))
    assert heard(listener) == 1


REMEMBERED = """
insert into sync_sources (workspace_id, source_key, floor_seq, google_event_id, calendar_id, payload)
values (%s, 'task:1', 5, 'e', 'primary', '{"event": {"title": "a secret"}}')
"""


@pytest.mark.parametrize(
    ("change", "keeps_texts", "is_removed"),
    [
        (b"cancelled = true, google_event_id = null, floor_seq = 6", False, True),
        (b"cancelled = true, google_event_id = null", False, False),
        (b"etag = 'x', floor_seq = 6", True, False),
        (b"google_event_id = null, floor_seq = 6", True, False),
    ],
    ids=["a cancel", "a cancel of a rebuild", "an edit", "somebody deleted it"],
)
def test_a_cancel_of_any_release_takes_the_texts_along_and_is_counted(
    owner: Connection,
    change: bytes,
    keeps_texts: bool,  # noqa: FBT001
    is_removed: bool,  # noqa: FBT001
) -> None:
    """As release 0.1 settles, which does not know removed_at."""
    owner.execute(REMEMBERED, (WORKSPACE,))
    owner.execute(b"update sync_sources set " + change)
    found = owner.execute("select payload is not null, removed_at is not null from sync_sources").fetchone()
    assert found == (keeps_texts, is_removed)
    owner.execute("update sync_sources set updated_at = now(), floor_seq = 7")  # nothing else happens to it later
    assert owner.execute("select payload is not null, removed_at is not null from sync_sources").fetchone() == found


def test_what_was_cancelled_before_loses_its_texts_when_it_is_migrated(database: Database, owner: Connection) -> None:
    owner.execute(
        "insert into sync_sources (workspace_id, source_key, cancelled, payload)"
        " select md5((n % 3)::text)::uuid, 'task:' || n, n % 2 = 0, '{}' from generate_series(1, 10003) as n"
    )
    owner.execute("delete from _yoyo_migration where migration_id = '0027_gone'")
    migrate(database.owner, progress=lambda _: None)
    kept = "select cancelled, count(*) from sync_sources where payload is not null group by 1"
    assert owner.execute(kept).fetchall() == [(False, 5_002)]
