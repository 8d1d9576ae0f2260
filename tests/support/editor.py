"""A part of the application that edits its own sources, and what a calendar must show of them in the end."""

import random
import time
from collections.abc import Sequence
from uuid import UUID

from psycopg.types.json import Jsonb

from tests.support.dialogues import upsert_json
from tests.support.repeating import Connection, Repeating

INSERT = "insert into sync_outbox (workspace_id, operation, payload) values (%s, 'UPSERT_EVENT', %s)"


def edit(workspace: UUID, number: int, title: str, calendar: str) -> tuple[UUID, Jsonb]:
    """The parameters of `INSERT` for a state of a source."""
    about = {"workspaceId": str(workspace), "sourceId": str(UUID(int=number))}
    return workspace, Jsonb(upsert_json(title, calendar) | about)


def title_of(number: int, state: int) -> str:
    return f"source {number} state {state}"


class Editor(Repeating):
    """Edits, one after another, each a transaction of its own.

    Args:
        dsn: The application's connection string.
        sources: Workspaces and numbers of the sources that nobody else edits.
        calendar: Where their events are.
        pause: Seconds between two edits.

    Attributes:
        states: The newest state of each source, by its number.
        slowest: Seconds that the slowest transaction took.
    """

    def __init__(self, dsn: str, sources: Sequence[tuple[UUID, int]], *, calendar: str, pause: float) -> None:
        super().__init__(dsn, pause=pause)
        self.states: dict[int, int] = {}
        self.slowest = 0.0
        self._sources = sources
        self._calendar = calendar
        self._rng = random.Random(sources[0][1])

    def step(self, connection: Connection) -> None:
        workspace, number = self._rng.choice(self._sources)
        state = self.states.get(number, 0) + 1
        began = time.monotonic()
        connection.execute(INSERT, edit(workspace, number, title_of(number, state), self._calendar))
        self.slowest = max(self.slowest, time.monotonic() - began)
        self.states[number] = state
