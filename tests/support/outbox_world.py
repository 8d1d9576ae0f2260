"""What the tests of the outbox insert and read."""

from typing import Any, NamedTuple
from uuid import UUID, uuid5

import psycopg
from psycopg.types.json import Jsonb

from reactor.postgres.statements import statements
from tests.support.databases import Database

Connection = psycopg.Connection[tuple[Any, ...]]

CLAIM = statements("outbox")["claim"]
IN_HAND = """
select count(*) from sync_outbox as o
 where o.status = 'PROCESSING'
   and ((o.lease_no & 2147483647) in (select lease from sync_lease_holders())
        or sync_item_key(o.id) in (select key from sync_item_holders()))
"""
"""Items under a lease that is held, or whose own lock is."""

NAMESPACE = UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")


def workspace(name: str = "w") -> UUID:
    return uuid5(NAMESPACE, f"workspace {name}")


def source(name: str = "s") -> str:
    return str(uuid5(NAMESPACE, f"source {name}"))


class World:
    """The application's side of the outbox, and a look at everything.

    Attributes:
        connection: A session of the tables' owner, in autocommit mode.
    """

    def __init__(self, database: Database) -> None:
        self.connection: Connection = psycopg.connect(database.owner, autocommit=True)

    def close(self) -> None:
        self.connection.close()

    def connect(self, name: str = "w", token: str = "token", *, valid: bool = True) -> UUID:
        """Give a workspace a connection; return the workspace."""
        self.connection.execute(
            "insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id, is_valid) "
            "values (%s, %s, 'primary', %s)",
            (workspace(name), token, valid),
        )
        return workspace(name)

    def insert(
        self,
        about: str = "s",
        *,
        of: str = "w",
        operation: str = "UPSERT_EVENT",
        by: Connection | None = None,
        payload: dict[str, Any] | None = None,
        **columns: Any,
    ) -> UUID:
        """Insert a row; return its id."""
        content = {"operation": operation, "workspaceId": str(workspace(of)), "calendarId": "primary"}
        if operation != "REBUILD_ALL":
            content |= {"sourceType": "task", "sourceId": source(about)}
        row = {
            "workspace_id": workspace(of),
            "operation": operation,
            "payload": Jsonb(content | (payload or {})),
        } | columns
        names = ", ".join(row)
        values = ", ".join(["%s"] * len(row))
        statement = f"insert into sync_outbox ({names}) values ({values}) returning id"
        [found] = (by or self.connection).execute(statement.encode(), list(row.values())).fetchone() or [None]
        assert isinstance(found, UUID)
        return found

    def one(self, statement: str, *params: Any) -> Any:
        """The first column of the first row."""
        row = self.connection.execute(statement.encode(), params).fetchone()
        return row[0] if row else None

    def row(self, item_id: UUID) -> dict[str, Any]:
        """Everything about an item."""
        found = self.one("select to_jsonb(o) from sync_outbox o where id = %s", item_id)
        assert isinstance(found, dict)
        return found

    def status(self, item_id: UUID) -> tuple[str, int, str | None]:
        """An item's status, its attempts and its failure code."""
        row = self.row(item_id)
        return row["status"], row["attempts"], row["failure_code"]

    def memory(self, about: str = "s", *, of: str = "w") -> dict[str, Any] | None:
        """What is remembered of a source."""
        found = self.one(
            "select to_jsonb(s) from sync_sources s where workspace_id = %s and source_key = %s",
            workspace(of),
            about if about == "REBUILD_ALL" else f"task:{source(about)}",
        )
        assert found is None or isinstance(found, dict)
        return found

    def locks(self) -> int:
        """How many items are in the hands of a session that lives."""
        count = self.one(IN_HAND)
        assert isinstance(count, int)
        return count


class Found(NamedTuple):
    """What a call returned."""

    ids: list[UUID]
    report: dict[str, Any]


def claim(world: World, slots: int = 8, **params: Any) -> Found:
    """Claim once; the page has eight rows where `due_rows` is not given."""
    defaults = {"workspaces": [workspace()], "cursors": [None], "past": None, "width": 32, "excluded": []}
    bounds = {"due_rows": 8, "key_rows": 8, "ceiling": 5, "bytes": 1_000_000, "largest": 100_000}
    every = defaults | bounds | {"slots": slots, "lease": 1, "trial": False} | params
    *rows, report = world.connection.execute(CLAIM, every).fetchall()
    return Found([row[0] for row in rows], report[5])


def settled_to_99(world: World, key: str) -> None:
    """What has a lower place is outdated; new places are higher."""
    world.connection.execute(
        "insert into sync_sources (workspace_id, source_key, floor_seq) values (%s, %s, 99)", (workspace(), key)
    )
    world.connection.execute("select setval('sync_outbox_seq', 101)")
