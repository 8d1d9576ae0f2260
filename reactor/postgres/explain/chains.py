"""Reads all that is known of one source's event (`core/explain/chain.py`), and finds the source that a person names.

Nothing is written and no row is locked. We cannot know how long the application's view takes, so it gets a few seconds,
and less for a page; if it fails, the rest is reported without it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, LiteralString
from uuid import UUID

import psycopg

from reactor.core.calendar.messages import EventRef
from reactor.core.explain.chain import (
    BrakeStop,
    Chain,
    ConnectionRow,
    Custody,
    OutboxRow,
    Replicas,
    SessionFacts,
    ViewPresence,
    ViewState,
)
from reactor.core.holders import CLAIMS_SESSION, Lock
from reactor.core.item import SourceState
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.lock_holders import holders
from reactor.postgres.statements import statements

SQL = statements("chains")
REBUILDS, STATUS = statements("rebuilds"), statements("status")

VIEW_SECONDS = 3.0
"""Seconds that the application's view has."""
RECENT = 10_000
"""Finished rows that are looked through for a source, the last ones; no index has them by source."""
IN_FLIGHT = 10_000
"""Items in flight that are counted for each replica."""
DEAD = 10_000
"""Dead letters, and waiting rows, that are looked through."""
STATES = 20
"""States of one source that are reported, of each kind."""


@dataclass(frozen=True, slots=True)
class ChainReading:
    """What was read of a source.

    Attributes:
        chain: What decides.
        event: The event as the application's view has it, None where it has none or is not known.
        remembered_at: When the source was last written.
        synced_at: When the application's own record was.
    """

    chain: Chain
    event: dict[str, Any] | None = field(default=None, repr=False)
    remembered_at: Any = None
    synced_at: Any = None


@contextmanager
def by_index(admin: AdminSession) -> Iterator[None]:
    """Have the session read tables by index during a block; then it is as before, because a page gives it back."""
    admin.rows(SQL["by_index"])
    try:
        yield
    finally:
        with suppress(psycopg.Error):  # of a session that is broken
            admin.rows(SQL["by_choice"])


def read(
    admin: AdminSession,
    workspace: UUID,
    source: str,
    item: UUID | None = None,
    *,
    view_seconds: float | None = None,
) -> ChainReading:
    """Read a source's chain.

    Args:
        admin: The session.
        workspace: The source's workspace.
        source: Its name.
        item: The row that was asked for: it is found also where rows of its source cannot be.
        view_seconds: Seconds that the application's view has; `VIEW_SECONDS` without it.
    """
    with by_index(admin):
        return _read(admin, workspace, source, item, view_seconds)


def read_item(admin: AdminSession, item: UUID) -> OutboxRow | None:
    """Read what is reported of one row, with the session that has it; None where there is no such row."""
    return next(iter(_rows(admin, SQL["the_item"], {"item": item})), None)


def _read(
    admin: AdminSession, workspace: UUID, source: str, item: UUID | None, view_seconds: float | None
) -> ChainReading:
    about = {"workspace": workspace, "source": source, "item": item, "rows": STATES, "recent": RECENT, "dead": DEAD}
    place, known = admin.one(SQL["workspace"], **about), admin.one(SQL["memory"], **about)
    rows = _rows(admin, SQL["open_of_source"], about)
    wanted, event = _wanted(admin, workspace, source, view_seconds)
    ahead = admin.one(SQL["ahead"], workspace=workspace, item=rows[0].id, dead=DEAD) if rows else {}
    chain = Chain(
        workspace_id=workspace,
        source=source,
        wanted=wanted,
        connection=ConnectionRow(place["is_valid"], place["calendar"]) if place["is_connected"] else None,
        stop=BrakeStop(place["deletes"], place["events"]) if place["is_stopped"] else None,
        rebuild=next(iter(_rows(admin, SQL["open_rebuild"], about)), None),
        rows=rows,
        ahead=ahead.get("ahead", 0),
        met=tuple(ahead.get("met") or ()),
        dead_letters=_rows(admin, SQL["dead_of_source"], about),
        finished=_rows(admin, SQL["finished_of_source"], about | {"settled_at": known["updated_at"]}),
        memory=_memory(known),
        binding=_binding(known),
        replicas=_replicas(admin),
    )
    return ChainReading(chain, event, known["updated_at"], known["last_synced_at"])


def _rows(admin: AdminSession, statement: LiteralString, about: dict[str, Any]) -> tuple[OutboxRow, ...]:
    return tuple(_row(found) for found in admin.rows(statement + " " + SQL["rows"], **about))


def _row(found: dict[str, Any]) -> OutboxRow:
    custody, pid, name, seconds = (found.pop(column) for column in ("custody", "pid", "name", "seconds"))
    session = (
        SessionFacts(pid, name, None if seconds is None else max(seconds, 0.0)) if found.pop("has_session") else None
    )
    return OutboxRow(**found, custody=custody and Custody(custody), session=session)


def _memory(found: dict[str, Any]) -> SourceState | None:
    if not found["is_remembered"]:
        return None
    return SourceState(
        found["floor_seq"],
        found["generation"],
        found["google_event_id"],
        found["calendar_id"],
        found["etag"],
        found["cancelled"],
        found["reopen"],
        tuple(found["strays"]),
    )


def _binding(found: dict[str, Any]) -> EventRef | None:
    event, calendar = found["bound_event_id"], found["bound_calendar_id"]
    return EventRef(calendar, event) if event and calendar else None


def _replicas(admin: AdminSession) -> Replicas:
    sessions = admin.rows(STATUS["replicas"], cap=IN_FLIGHT)
    refused = (code for each in sessions for code in (each["refused"] or "").split())
    blockers = [each for each in holders(admin.connection) if each.lock is Lock.CLAIM and each.stands_out]
    return Replicas(
        count=sum(each["application"] == CLAIMS_SESSION for each in sessions),
        sqlstate=next(refused, None),
        blocker=next((SessionFacts(each.pid, each.application, each.seconds) for each in blockers), None),
    )


def _wanted(
    admin: AdminSession, workspace: UUID, source: str, view_seconds: float | None
) -> tuple[ViewState, dict[str, Any] | None]:
    """What the application's view says of a source, and the event as it is there."""
    source_type, _, source_id = source.partition(":")
    found, problem = view_rows(admin, source_id, source_type, workspace, view_seconds)
    if problem:
        return ViewState(problem=problem), None
    if not found:
        return ViewState(ViewPresence.NO), None
    event = found[0]["event"]
    calendar = event.get("calendar_id") if isinstance(event, dict) else None
    return ViewState(ViewPresence.YES, calendar[:1_024] if isinstance(calendar, str) else None), event


def view_rows(
    admin: AdminSession,
    source_id: str,
    source_type: str | None,
    workspace: UUID | None,
    seconds: float | None = None,
) -> tuple[list[dict[str, Any]], str]:
    """What the application's view has of a source, or the reason why we cannot read it."""
    kind, problem = _view(admin)
    if problem:
        return [], problem
    if kind == "function" and workspace is None:
        return [], "calendar_source_events is a function, which is asked for one workspace: give --workspace"
    statement = "function_of_text"
    if kind == "view":
        column = admin.row(SQL["source_id_type"])
        statement = "view_of_uuid" if column and column["type"] == "uuid" and is_uuid(source_id) else "view_of_text"
    about = {"id": source_id, "type": source_type or None, "workspace": workspace, "matches": STATES}
    return _ask_view(admin, SQL[statement], seconds, **about)


def titles_in_view(
    admin: AdminSession, title: str, workspace: UUID | None, matches: int
) -> tuple[list[dict[str, Any]], str]:
    """What the application's view has with these words in its title, or the reason why we cannot read it."""
    kind, problem = _view(admin)
    if problem or kind == "function":
        return [], problem or "calendar_source_events is a function, which cannot be searched"
    return _ask_view(admin, SQL["view_of_title"], None, title=title, workspace=workspace, matches=matches)


def _view(admin: AdminSession) -> tuple[str, str]:
    """Whether the application has a view or a function, or the reason why neither can be read."""
    found = admin.one(REBUILDS["source"])
    if found["kind"] == "memory":
        return "", "there is no view calendar_source_events"
    return found["kind"], "" if found["is_readable"] else "calendar_source_events may not be read by this role"


def _ask_view(
    admin: AdminSession, statement: LiteralString, seconds: float | None, **params: Any
) -> tuple[list[dict[str, Any]], str]:
    seconds = VIEW_SECONDS if seconds is None else seconds
    try:
        with _hurry(admin, seconds):
            return admin.rows(statement, **params), ""
    except psycopg.errors.QueryCanceled:
        return [], f"calendar_source_events took longer than {seconds:g} s"
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        return [], f"calendar_source_events cannot be read: SQLSTATE {error.sqlstate}"


@contextmanager
def _hurry(admin: AdminSession, seconds: float) -> Iterator[None]:
    with admin.connection.transaction(force_rollback=True):
        admin.rows(SQL["hurry"], milliseconds=f"{seconds * 1000:.0f}")
        yield


def is_uuid(text: str) -> bool:
    """Whether it is a UUID in some spelling."""
    try:
        UUID(text)
    except ValueError:
        return False
    return True
