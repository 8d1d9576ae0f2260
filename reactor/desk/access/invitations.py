"""Invitations: the person who may give a workspace's consent gives it by a link, without an account here.

The link holds a secret of 32 random bytes, and the database its SHA-256. An invitation is for one workspace and one
calendar that is named: never `primary`, which every account has, so that a person who got hold of a link could connect
a calendar of their own. It is good for `HOURS`, once, and until it is revoked. Making one, taking it back and using it
are acts, each recorded in its own transaction.
"""

import hashlib
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from reactor.core.payload import is_resource_id
from reactor.desk import acts, connections
from reactor.desk.acts import ActAuthor, ActKind
from reactor.desk.wording import clean
from reactor.errors import ConfigurationError, PermanentError
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.statements import statements
from reactor.token_encryption import TokenCipher

SQL, CONNECTIONS = statements("invitations"), statements("connections")
HOURS = 72
"""For which an invitation is good."""
MOST = 5
"""Invitations of a workspace that are good at one time."""
LISTED = 20
"""Invitations of a workspace that are listed."""
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")  # 32 bytes as base64 for URLs
_ID = re.compile(r"[0-9a-f]{64}")
_LONGEST_NAME = 200

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Invitation:
    """A new one.

    Attributes:
        secret: What the link holds; it is nowhere else.
        expires_at: When it is no longer valid.
    """

    secret: str = field(repr=False)
    expires_at: datetime


def invite(admin: AdminSession, workspace: UUID, calendar: str, by: ActAuthor) -> Invitation:
    """Make an invitation.

    Raises:
        ConfigurationError: There is no such workspace, the calendar is none that can be named, or there are too many.
    """
    if calendar.lower() == "primary" or not is_resource_id(calendar) or not _seen_whole(calendar):
        raise ConfigurationError(
            "An invitation names its calendar: give the calendar's id, such as team@group.calendar.google.com or the "
            "address of its owner, and not `primary`, which every account has."
        )
    connections.dry_run_connect(admin, workspace, calendar)
    secret = secrets.token_urlsafe(32)
    with admin.connection.transaction():
        if admin.one(SQL["open"], workspace=workspace)["n"] >= MOST:
            raise ConfigurationError(f"The workspace has {MOST} invitations that are good: use or revoke one of them.")
        who = clean(by.who)[:_LONGEST_NAME]
        params = {"workspace": workspace, "calendar": calendar, "by": who, "hours": HOURS}
        expires = admin.one(SQL["insert"], hash=_hash(secret), **params)["expires_at"]
        target = {"calendar": calendar, "invitation": _hash(secret).hex(), "expires": expires}
        acts.record(admin, by, ActKind.INVITE, workspace=workspace, target=target)
    return Invitation(secret, expires)


def listed(admin: AdminSession, workspace: UUID) -> list[Document]:
    """The newest invitations of a workspace, with their state: `good`, `used`, `revoked` or `expired`."""
    return [{**row, "state": _state(row)} for row in admin.rows(SQL["list"], workspace=workspace, rows=LISTED)]


def revoke(admin: AdminSession, workspace: UUID, invitation: str, by: ActAuthor) -> None:
    """Take an invitation back.

    Args:
        admin: The session.
        workspace: Whose it is.
        invitation: Its id, as `listed` has it.
        by: Who does it, and why.

    Raises:
        ConfigurationError: There is no such invitation that is still valid.
    """
    with admin.connection.transaction():
        known = bool(_ID.fullmatch(invitation))
        found = admin.row(SQL["revoke"], id=invitation, workspace=workspace) if known else None
        if found is None:
            raise ConfigurationError("The invitation is good no longer: look at the list of invitations.")
        target = {"calendar": found["calendar"], "invitation": invitation}
        acts.record(admin, by, ActKind.UNINVITE, workspace=workspace, target=target)


def find(admin: AdminSession, secret: str) -> Document:
    """Find what an invitation is for.

    Raises:
        PermanentError: It is not valid: there is none, it was used or revoked, or it has expired.
    """
    found = admin.row(SQL["find"], hash=_hash(secret)) if _SECRET.fullmatch(secret) else None
    if found is None:
        raise PermanentError("This link is no invitation: copy all of it, or ask for another one.")
    if (state := _state(found)) != "good":
        raise _gone(state, found["invited_by"])
    return {name: found[name] for name in ("workspace", "calendar", "invited_by", "invited_at", "expires_at")}


def landing(admin: AdminSession, secret: str) -> Document:
    """What the invited person is shown: what `find` says, and how the workspace is; raises what `find` raises."""
    found = find(admin, secret)
    first = {"after": None, "after_valid": None}
    row = admin.row(
        CONNECTIONS["list"], workspace=found["workspace"], invalid=False, cap=connections.CAP, rows=1, **first
    )
    shown = (
        {"valid": row["valid"], "since": row["updated_at"], "waiting": row["waiting"] + row["dead"]} if row else None
    )
    return {**found, "connection": shown}


def use(admin: AdminSession, secret: str, refresh_token: str, cipher: TokenCipher) -> Document:
    """Store a consent that came of an invitation, and use the invitation up, in one transaction.

    Args:
        admin: The session.
        secret: Out of the link.
        refresh_token: The consent, of an account that may change the invitation's calendar.
        cipher: Encrypts it.

    Raises:
        PermanentError: The invitation is no longer valid.
    """
    with admin.connection.transaction():
        used = admin.row(SQL["use"], hash=_hash(secret))
        if used is None:
            find(admin, secret)
            raise _gone("used", "who invited you")
        workspace, calendar = used["workspace"], used["calendar"]
        by = ActAuthor(f"invited by {used['invited_by']}", "console", "an invitation was followed")
        return connections.store(admin, workspace, calendar, cipher.encrypt(workspace, refresh_token), by)


def _seen_whole(calendar: str) -> bool:
    """Whether a person who reads it sees all of it, and it is not the `…` of a command that was to be filled in."""
    return calendar.isprintable() and not {" ", "…"} & {*calendar}


def _gone(state: str, by: str) -> PermanentError:
    why = {"used": "was used before", "revoked": "was taken back", "expired": "has expired"}[state]
    return PermanentError(f"This invitation {why}: ask {by} to make another one.")


def _state(row: Document) -> str:
    if row["used_at"] is not None:
        return "used"
    if row["revoked_at"] is not None:
        return "revoked"
    return "expired" if row["is_expired"] else "good"


def _hash(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()
