"""An act that takes long: it is recorded before it begins, says how far it is, and may be stopped by another person."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg

from reactor.desk import acts
from reactor.desk.acts import SQL, ActAuthor, ActKind
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession


class RunState(StrEnum):
    """The state of an act that takes long. One without a sign of life for two minutes is shown as broken off."""

    RUNNING = "running"
    DONE = "done"
    STOPPED = "stopped"
    BROKEN_OFF = "broken off"


@dataclass(slots=True)
class ActRun:
    """An act under way.

    Attributes:
        id: The number of the act.
        done: How many things are done.
        stops: Whether an operator has asked it to stop.
    """

    id: int
    done: int = 0
    stops: bool = False

    def proceed(self, admin: AdminSession, done: int) -> None:
        """Record how far it is, and look whether it is to stop."""
        self._say(admin, done, RunState.RUNNING)

    def end(self, admin: AdminSession, state: RunState) -> None:
        """Record how it ended."""
        self._say(admin, self.done, state)

    def _say(self, admin: AdminSession, done: int, state: RunState) -> None:
        found = admin.row(SQL["progress"], id=self.id, done=done, state=state)
        self.done, self.stops = done, found is not None and bool(found["stops"])


def begin(
    admin: AdminSession,
    by: ActAuthor,
    kind: ActKind,
    *,
    of: int,
    workspace: UUID | None = None,
    target: Mapping[str, Any] | None = None,
    forecast: Mapping[str, Any] | None = None,
) -> ActRun:
    """Record an act that takes long, before it begins.

    Args:
        admin: The session.
        by: Who does it.
        kind: What is done.
        of: How many things it is done to.
        workspace: The one workspace that it is about.
        target: What it is done to.
        forecast: What was said before.
    """
    result = {"state": RunState.RUNNING, "done": 0, "of": of, "at": acts.server_time(admin)}
    return ActRun(acts.record(admin, by, kind, workspace=workspace, target=target, forecast=forecast, result=result))


@contextmanager
def ending(admin: AdminSession, run: ActRun) -> Iterator[None]:
    """Record how a run ends, however it ends."""
    state = RunState.BROKEN_OFF
    try:
        yield
        state = RunState.STOPPED if run.stops else RunState.DONE
    finally:
        with suppress(psycopg.Error):
            run.end(admin, state)


def stop(admin: AdminSession, run: int, by: ActAuthor) -> None:
    """Ask a run to stop before its next portion; another person may have begun it.

    Raises:
        ConfigurationError: There is no such run, or it has ended.
    """
    with admin.connection.transaction():
        found = acts.act(admin, run)
        if (found["result"] or {}).get("state") != RunState.RUNNING:
            raise ConfigurationError(f"Act {run} does not run: see `python -m reactor acts show {run}`.")
        acts.record(admin, by, ActKind.STOP, workspace=found["workspace"], target={"run": run})
