"""Where the whole reactor is measured: a server that keeps what it is told, fifty connected workspaces, rows to write.

The server has fsync on, as a production server has: with it off a commit costs nothing, and a good part of what a wake
waits for is not seen.
"""

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg

from reactor.postgres.setup.embedded import EmbeddedPostgres, embedded_postgres
from reactor.postgres.setup.migrations import migrate
from reactor.token_encryption import TokenCipher

WORKSPACES = 50
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
KEYS = "k1:" + "A" * 43 + "="
SERVER = {
    "fsync": "on",
    "full_page_writes": "on",
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
}

_CONNECT = """
insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id) values (%s, %s, 'primary')
"""
# `bench-N` is what the stub reads: in the row's payload, and so in the request.
_INSERT = """
insert into sync_outbox (workspace_id, operation, payload)
select w, 'UPSERT_EVENT', jsonb_build_object(
         'operation', 'UPSERT_EVENT', 'workspaceId', w, 'calendarId', 'primary',
         'sourceType', 'task', 'sourceId', gen_random_uuid(), 'eventType', 'MILESTONE',
         'event', jsonb_build_object(
           'title', 'bench-' || (%(first)s + n) || ' of a project', 'description', 'What has to be true by then.',
           'start', '2026-12-01T09:00:00Z', 'end', '2026-12-01T10:00:00Z'))
  from generate_series(0, %(rows)s - 1) as n,
       lateral (select (%(workspaces)s::uuid[])[1 + n %% cardinality(%(workspaces)s::uuid[])] as w) as rows
"""
_OPEN = "select exists (select from sync_outbox where status in ('PENDING', 'FAILED', 'PROCESSING'))"


@dataclass
class World:
    """The server, and a session of the application's.

    Attributes:
        dsn: For the reactor, whose role is no superuser.
        workspaces: All connected.
    """

    server: EmbeddedPostgres
    owner: psycopg.Connection[Any]
    dsn: str
    workspaces: list[UUID]
    _rows: int = 0

    def numbers(self, rows: int) -> int:
        """Return the first of so many numbers that no row has had."""
        first, self._rows = self._rows, self._rows + rows
        return first

    def write(self, rows: int, workspaces: list[UUID]) -> int:
        """Commit rows, spread over these workspaces; return the number of the first."""
        first = self.numbers(rows)
        self.owner.execute(_INSERT, {"first": first, "rows": rows, "workspaces": workspaces})
        return first

    def is_done(self) -> bool:
        """Tell whether no item is left to do."""
        return self.owner.execute(_OPEN).fetchone() == (False,)

    def clean(self) -> None:
        """Begin anew: no rows, fresh statistics."""
        self.owner.execute("truncate sync_outbox, sync_sources, calendar_event_bindings")
        self.owner.execute("vacuum analyze")
        self.owner.execute("checkpoint")


@contextmanager
def world(settings: Mapping[str, str] | None = None) -> Iterator[World]:
    """Make one, with these settings of the server too; it ends with the block."""
    with embedded_postgres({**SERVER, **(settings or {})}) as server:
        migrate(server.url(), progress=lambda _line: None)
        with psycopg.connect(server.url(), autocommit=True) as owner:
            owner.execute("create role bench login in role calendar_sync_reactor")
            workspaces = [UUID(int=n) for n in range(1, WORKSPACES + 1)]
            cipher = TokenCipher.from_setting(KEYS)
            for workspace in workspaces:
                owner.execute(_CONNECT, (workspace, cipher.encrypt(workspace, "refresh")))
            yield World(server, owner, server.url(user="bench"), workspaces)


def wait_until(condition: Callable[[], object], pause: float = 0.01) -> None:
    """Ask again and again."""
    while not condition():
        time.sleep(pause)
