"""What operators do, as it is recorded: each act in its own transaction, with who, why and what came of it.

A row holds ids, filters and numbers. No credential and no text of an event ever gets here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from psycopg.types.json import Jsonb

from reactor.desk.wording import as_json, clean
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.statements import statements

SQL = statements("acts")
ROWS = 50
"""Acts in one look."""
LAST_NUMBER = 2**63 - 1
"""The largest number that an act can have."""
LONGEST_REASON = 500
"""Characters of a reason."""
_LONGEST_NAME = 200

Document = dict[str, Any]


class ActKind(StrEnum):
    """What can be done, as it is recorded."""

    REQUEUE = "requeue"
    RELEASE = "brake release"
    ENABLE = "connection enable"
    DISABLE = "connection disable"
    CONNECT = "connect"
    INVITE = "invite"
    UNINVITE = "invitation revoke"
    REBUILD = "rebuild"
    ROTATE = "tokens rotate"
    STOP = "stop"
    WORDS = "words"


@dataclass(frozen=True, slots=True)
class ActAuthor:
    """Who does something, and why.

    Attributes:
        who: The user of the machine, or the person at the page.
        how: `command` or `console`.
        reason: Why, in the person's own words.
    """

    who: str
    how: str
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class ActList:
    """Acts, the newest first.

    Attributes:
        rows: The acts.
        before: What the next call takes to go on behind these; None at the end.
    """

    rows: list[Document]
    before: int | None


def record(
    admin: AdminSession,
    by: ActAuthor,
    kind: ActKind,
    *,
    workspace: UUID | None = None,
    target: Mapping[str, Any] | None = None,
    forecast: Mapping[str, Any] | None = None,
    result: Mapping[str, Any] | None = None,
) -> int:
    """Record an act, in the transaction that is open; return its number."""
    row = admin.one(
        SQL["record"],
        who=clean(by.who)[:_LONGEST_NAME],
        how=by.how,
        act=kind,
        workspace=workspace,
        target=_jsonb(target or {}),
        reason=clean(by.reason)[:LONGEST_REASON] if by.reason else None,
        forecast=_jsonb(forecast),
        result=_jsonb(result),
    )
    return int(row["id"])


def server_time(admin: AdminSession) -> datetime:
    """The database's time."""
    moment: datetime = admin.one(SQL["server_time"])["now"]
    return moment


def _jsonb(document: Mapping[str, Any] | None) -> Jsonb | None:
    return None if document is None else Jsonb(document, as_json)


def listed(
    admin: AdminSession, *, workspace: UUID | None = None, before: int | None = None, rows: int = ROWS
) -> ActList:
    """List acts, the newest first.

    Args:
        admin: The session.
        workspace: Those on this workspace only.
        before: Those before this number only.
        rows: How many at most.
    """
    found = admin.rows(SQL["list"], workspace=workspace, before=before, rows=rows)
    return ActList(found[:rows], found[rows - 1]["id"] if len(found) > rows else None)


def act(admin: AdminSession, number: int) -> Document:
    """Show one act.

    Raises:
        ConfigurationError: There is none of this number.
    """
    found = admin.row(SQL["one"], id=number)
    if found is None:
        raise ConfigurationError(
            f"There is no act {number}: look at `python -m reactor acts list`; retention may have deleted it "
            "(CALENDAR_SYNC_RETENTION_DAYS)."
        )
    return found
