"""The reactor's role can do its work and nothing else."""

import psycopg

from tests.databases import Database


def test_the_reactor_sees_every_workspace_under_row_level_security(database: Database) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(
            "insert into sync_outbox (workspace_id, operation, payload) select gen_random_uuid(), 'REBUILD_ALL', '{}' "
            "from generate_series(1, 3)"
        )
    with psycopg.connect(database.reactor, autocommit=True) as reactor:
        assert reactor.execute("select count(*) from sync_outbox").fetchone() == (3,)
        assert reactor.execute("select usesuper or usebypassrls from pg_user where usename = user").fetchone() == (
            False,
        )
