"""The indexes serve the statements they were made for, also under the reactor's role and its policies."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.databases import Server

Connection = psycopg.Connection[tuple[Any, ...]]

OPEN = "status in ('PENDING', 'FAILED', 'PROCESSING')"
KEY = "sync_source_key(payload, id)"
WORKSPACE = "workspace_id = md5('1')::uuid"


FILL = """
insert into sync_outbox (workspace_id, operation, payload, status, failure_code, parent_id, next_attempt_at, updated_at)
select md5((n % 50)::text)::uuid,
       (case when n % 100 = 0 then 'REBUILD_ALL' else 'UPSERT_EVENT' end)::outbox_operation,
       jsonb_build_object('sourceType', 'task', 'sourceId', n % 1000),
       case when n % 10 > 3 then 'COMPLETED' else (enum_range(null::outbox_status))[1 + n % 5] end,
       (array['AUTH', 'BAD_REQUEST'])[1 + n % 2],
       case when n % 500 = 0 then md5((n % 5)::text)::uuid end,
       now() - n * interval '1 second',
       now() - n * interval '1 minute'
  from generate_series(1, 20000) as n
"""


@pytest.fixture(scope="module")
def planned(postgres: Server, migrated_template: str, reactor_login: dict[str, str]) -> Iterator[Connection]:
    """A session of the reactor on 20,000 items, most of them finished."""
    name = postgres.create_database(migrated_template)
    with psycopg.connect(postgres.dsn(name), autocommit=True) as owner:
        owner.execute(FILL)
        owner.execute("analyze")
    with psycopg.connect(postgres.dsn(name, **reactor_login), autocommit=True) as reactor:
        yield reactor
    postgres.drop_database(name)


STATEMENTS = {
    "the next source": f"""
        select id from sync_outbox where {OPEN} and {WORKSPACE} and {KEY} > 'task' order by {KEY}, seq desc limit 1
        -- sync_outbox_open""",
    # By the key as well, though it is one: behind a policy the planner concludes nothing from an equality that might
    # leak, and would sort all of the source's items.
    "the newest item of a source": f"""
        select id from sync_outbox where {OPEN} and {WORKSPACE} and {KEY} = 'task:1' order by {KEY}, seq desc limit 1
        -- sync_outbox_open""",
    "items below the floor": f"""
        select id from sync_outbox where {OPEN} and {WORKSPACE} and {KEY} = 'task:1' and seq < 100
         order by {KEY}, seq desc limit 5
        -- sync_outbox_open""",
    "the next workspace": f"""
        select workspace_id from sync_outbox where {OPEN} order by workspace_id limit 1
        -- sync_outbox_open""",
    "what is due": f"""
        select id from sync_outbox where status in ('PENDING', 'FAILED') and {WORKSPACE}
           and next_attempt_at <= clock_timestamp() order by next_attempt_at limit 8
        -- sync_outbox_due""",
    "a source at work": f"""
        select id from sync_outbox where status = 'PROCESSING' and {WORKSPACE} and {KEY} = 'task:1'
        -- sync_outbox_processing""",
    "the newest rebuild": f"""
        select id from sync_outbox where operation = 'REBUILD_ALL' and {OPEN} and {WORKSPACE} order by seq desc limit 1
        -- sync_outbox_rebuild""",
    "dead letters by cause": f"""
        select id from sync_outbox where status = 'DEAD_LETTER' and {WORKSPACE} and failure_code = 'AUTH'
        -- sync_outbox_dead_letter""",
    "children of a rebuild": """
        select count(*) from sync_outbox where parent_id = md5('1')::uuid
        -- sync_outbox_parent""",
    "the oldest settled items": """
        select id from sync_outbox where status in ('COMPLETED', 'DEAD_LETTER') and updated_at < now() - interval '1 d'
         order by updated_at limit 100
        -- sync_outbox_settled""",
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_an_index_serves(planned: Connection, statement: str) -> None:
    """Each statement ends in a comment that names its index."""
    statement, index = statement.split("-- ")
    plan = "\n".join(line for (line,) in planned.execute(f"explain (costs off) {statement}".encode()))
    assert f" using {index} " in plan or f" on {index}\n" in plan, plan
    assert "Sort" not in plan, plan
