"""The clean-up deletes what is settled and old, in portions, and waits for nobody."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from reactor.postgres.setup.migrations import migrate
from tests.support.databases import Database

FILL = """
insert into sync_outbox (workspace_id, operation, payload, status, updated_at)
select gen_random_uuid(), 'UPSERT_EVENT', '{}', status, now() - age * interval '1 day'
  from unnest(enum_range(null::outbox_status)) as status, unnest(array[1, 29, 31, 400]) as age, generate_series(1, %s)
"""
LEFT = """
select status::text, extract(day from now() - updated_at)::int, count(*) from sync_outbox
 where extract(day from now() - updated_at) > 30 group by 1, 2 order by 1, 2
"""
OPEN = [(status, age, 7) for status in ("FAILED", "PENDING", "PROCESSING") for age in (31, 400)]


@pytest.fixture
def filled(database: Database) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(FILL, (7,))
        yield owner


def test_it_deletes_settled_items_older_than_that(filled: psycopg.Connection[tuple[Any, ...]]) -> None:
    assert filled.execute("select cleanup_old_outbox_items()").fetchone() == (28,)
    assert filled.execute(LEFT).fetchall() == OPEN
    assert filled.execute("select count(*) from sync_outbox").fetchone() == (5 * 2 * 7 + 6 * 7,)
    assert filled.execute("select cleanup_old_outbox_items(older_than_days => 0)").fetchone() == (28,)


def test_a_portion_is_no_larger_than_asked(database: Database, filled: psycopg.Connection[tuple[Any, ...]]) -> None:
    with psycopg.connect(database.reactor, autocommit=True) as reactor:
        portions = [reactor.execute("select sync_outbox_cleanup_chunk(30, 10)").fetchone() for _ in range(4)]
    assert portions == [(10,), (10,), (8,), (0,)]
    assert filled.execute(LEFT).fetchall() == OPEN


def test_it_passes_by_what_somebody_has_locked(database: Database, filled: psycopg.Connection[tuple[Any, ...]]) -> None:
    with psycopg.connect(database.owner) as reader:
        reader.execute("select 1 from sync_outbox where status = 'DEAD_LETTER' for update")
        filled.execute("set lock_timeout = '1ms'")
        assert filled.execute("select sync_outbox_cleanup_chunk(30, 100)").fetchone() == (14,)
        assert filled.execute("select cleanup_old_outbox_items(30)").fetchone() == (0,)
    assert filled.execute("select cleanup_old_outbox_items(30)").fetchone() == (14,)


def test_many_of_one_moment_are_all_deleted(database: Database) -> None:
    """More than fit into one portion, with the same date."""
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(
            "insert into sync_outbox (workspace_id, operation, payload, status, updated_at) "
            "select gen_random_uuid(), 'UPSERT_EVENT', '{}', 'COMPLETED', 'epoch' from generate_series(1, 12000)"
        )
        assert owner.execute("select cleanup_old_outbox_items()").fetchone() == (12_000,)


def test_a_deployed_function_keeps_the_name_of_its_argument_and_its_rights(deployed_database: str) -> None:
    with psycopg.connect(deployed_database, autocommit=True) as owner:
        owner.execute("drop function cleanup_old_outbox_items")
        owner.execute(
            "create function cleanup_old_outbox_items(days integer default 30) returns integer "
            "language sql security definer as 'select 0'"
        )
        owner.execute("revoke execute on function cleanup_old_outbox_items from public")
        migrate(deployed_database, progress=lambda _: None)
        assert owner.execute("select cleanup_old_outbox_items(days => 30) > 0").fetchone() == (True,)
        kept = owner.execute(
            "select prosecdef, has_function_privilege('pg_monitor', oid, 'execute') from pg_proc "
            "where proname = 'cleanup_old_outbox_items'"
        )
        assert kept.fetchall() == [(True, False)]
