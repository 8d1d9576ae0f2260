"""Everything bad that the application of one workspace can do to the outbox, each kind in a thread of its own."""

import random
from collections import Counter
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from tests.support import odd_rows
from tests.support.many_rows import insert_edits
from tests.support.repeating import Connection, Repeating

FLOOD = 5_000
HUGE = 5_000_000  # bytes
HOLD = 2.0  # seconds that a transaction is left open

VIEW = """
create table slow_events (workspace_id uuid, source_id uuid, title text);
create view calendar_source_events as
select workspace_id, 'ada@example.com' as calendar_id, 'task' as source_type, source_id,
       'MILESTONE'::calendar_event_type as event_type, title, timestamptz '2026-12-01 09:00+00' as start_at,
       timestamptz '2026-12-01 10:00+00' as end_at, false as is_all_day
  from slow_events, pg_sleep(3600);
grant select on calendar_source_events to calendar_sync_reactor;
"""

TABLES = """
select c.table_name, case c.table_name when 'workspaces' then 'id' else 'workspace_id' end
  from information_schema.columns as c
  join information_schema.tables as t using (table_schema, table_name)
 where c.table_schema = 'public' and t.table_type = 'BASE TABLE'
   and (c.column_name = 'workspace_id' or c.table_name = 'workspaces' and c.column_name = 'id')
"""


class _OfWorkspace(Repeating):
    """One kind of abuse.

    Args:
        dsn: The owner's connection string.
        workspace: Who does it.
        pause: Seconds between two steps.
    """

    def __init__(self, dsn: str, workspace: UUID, *, pause: float) -> None:
        super().__init__(dsn, pause=pause)
        self._workspace = workspace


class Poison(_OfWorkspace):
    """Inserts odd rows, one of each kind in a transaction.

    Attributes:
        kinds: How many rows of each kind there are; one that the schema refuses is not here.
    """

    def __init__(self, dsn: str, workspace: UUID) -> None:
        super().__init__(dsn, workspace, pause=1.0)
        self.kinds: Counter[str] = Counter()
        self._rng = random.Random(1)

    def step(self, connection: Connection) -> None:
        kinds = self._rng.sample(odd_rows.LIGHT, len(odd_rows.LIGHT))
        with connection.transaction():
            inserted = [kind for kind in kinds if odd_rows.insert(connection, kind, self._workspace, uuid4())]
        self.kinds.update(inserted)


class Locks(_OfWorkspace):
    """Leaves a transaction open that has locked all rows of the workspace in one table, again and again."""

    def __init__(self, dsn: str, workspace: UUID, table: str, column: str) -> None:
        super().__init__(dsn, workspace, pause=0.1)
        statement = sql.SQL("select from {} where {} = %s for update")
        self._lock = statement.format(sql.Identifier("public", table), sql.Identifier(column))

    def step(self, connection: Connection) -> None:
        with connection.transaction():
            connection.execute(self._lock, (self._workspace,))
            self._stop.wait(HOLD)


class Floods(_OfWorkspace):
    """Inserts thousands of edits at once."""

    def __init__(self, dsn: str, workspace: UUID) -> None:
        super().__init__(dsn, workspace, pause=5.0)

    def step(self, connection: Connection) -> None:
        insert_edits(connection, self._workspace, FLOOD)


class Huge(_OfWorkspace):
    """Inserts payloads of megabytes."""

    def __init__(self, dsn: str, workspace: UUID) -> None:
        super().__init__(dsn, workspace, pause=0.5)

    def step(self, connection: Connection) -> None:
        insert_edits(connection, self._workspace, 1, size=HUGE)


class Rebuilds(_OfWorkspace):
    """Wants rebuilds of what takes an hour to be read."""

    def __init__(self, dsn: str, workspace: UUID) -> None:
        super().__init__(dsn, workspace, pause=3.0)

    def step(self, connection: Connection) -> None:
        payload = {"operation": "REBUILD_ALL", "workspaceId": str(self._workspace), "calendarId": "ada@example.com"}
        insert = "insert into sync_outbox (workspace_id, operation, payload) values (%s, 'REBUILD_ALL', %s)"
        connection.execute(insert, (self._workspace, Jsonb(payload)))


def locks(dsn: str, workspace: UUID) -> list[Locks]:
    """Locks on the workspace's rows in every table that there is."""
    with psycopg.connect(dsn) as connection:
        return [Locks(dsn, workspace, table, column) for table, column in connection.execute(TABLES)]


def prepare(dsn: str) -> None:
    """Make an adopted schema one that hardly refuses anything, with a view of an hour."""
    with psycopg.connect(dsn) as connection:
        odd_rows.loosen(connection)
        connection.execute(VIEW)
