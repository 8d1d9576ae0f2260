"""The workspaces' connections: who is connected, by what, and what waits for them; never a credential itself."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg

from reactor.desk import acts
from reactor.desk.acts import ActAuthor, ActKind
from reactor.errors import ConfigurationError
from reactor.google.credentials import StoredCredentialError, service_account_in
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.statements import statements
from reactor.token_encryption import TEXT, VERSION_1, VERSION_2, TokenCipher, TokenCipherError

SQL = statements("connections")
CAP = 1_000
"""Items that are counted for each workspace."""
LISTED = 10_000
"""Connections that are listed."""
REQUEUED = 10_000
"""Dead letters of a workspace that are counted."""
REFRESH_TOKEN, SERVICE_ACCOUNT = "refresh token", "service account"
"""Kinds of credentials."""
_NO_TOKEN = VERSION_1

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ConnectionList:
    """The connections, the invalid ones first.

    Attributes:
        rows: Up to `LISTED` of them.
        is_cut: Whether there are more.
        stored: The encrypted credentials of service accounts, by workspace.
    """

    rows: list[Document]
    is_cut: bool
    stored: dict[UUID, str] = field(repr=False)

    def name_accounts(self, cipher: TokenCipher) -> None:
        """Fill in whose the service accounts are, as far as these keys decrypt them."""
        for row in self.rows:
            if text := self.stored.get(row["workspace"]):
                with suppress(TokenCipherError, StoredCredentialError):
                    if robot := service_account_in(cipher.decrypt(row["workspace"], text)):
                        row |= {"account": robot.email, "subject": robot.subject}


def listed(
    admin: AdminSession,
    workspace: UUID | None = None,
    *,
    invalid: bool = False,
    behind: tuple[bool, UUID] | None = None,
    rows: int | None = None,
) -> ConnectionList:
    """List connections with what waits for each, of one workspace or of all.

    Args:
        admin: The session.
        workspace: This one only.
        invalid: Those that wait for a person only.
        behind: Those that follow this place, which is whether a connection is valid, and its workspace.
        rows: How many at most; `LISTED` without it.

    Raises:
        ConfigurationError: Nothing is known of the workspace.
    """
    if workspace:
        admin.require_workspace(workspace)
    most = LISTED if rows is None else rows
    valid, after = behind or (None, None)
    found = admin.rows(
        SQL["list"], workspace=workspace, invalid=invalid, after=after, after_valid=valid, cap=CAP, rows=most
    )
    is_cut = len(found) > most
    del found[most:]
    keys = {}
    for row in found:
        stored = row.pop("stored")
        is_account = stored.startswith(VERSION_2)
        if is_account:
            keys[row["workspace"]] = stored
        kind = SERVICE_ACCOUNT if is_account else REFRESH_TOKEN
        row |= {"key": _key(stored), "kind": kind, "account": None, "subject": None}
    return ConnectionList(found, is_cut, keys)


def _key(stored: str) -> str:
    """The name of a stored token's key; nothing else of it is ever shown."""
    match = TEXT.fullmatch(stored)
    return match[1] if match else "not encrypted, or damaged"


def set_valid(admin: AdminSession, workspace: UUID, *, valid: bool, by: ActAuthor) -> Document:
    """Mark a connection valid or invalid; return what followed.

    Marking it valid puts back the dead letters that died because it was invalid.

    Raises:
        ConfigurationError: The workspace has no connection.
    """
    if admin.row(SQL["connection"], workspace=workspace) is None:
        raise no_connection(workspace)
    dead = admin.one(SQL["dead_of_auth"], workspace=workspace, cap=REQUEUED)["n"] if valid else 0
    with admin.connection.transaction():
        changed = bool(admin.rows(SQL["set_valid"], workspace=workspace, valid=valid))
        requeued = dead if changed else 0
        if changed:
            kind = ActKind.ENABLE if valid else ActKind.DISABLE
            acts.record(admin, by, kind, workspace=workspace, result={"requeued": requeued})
    return {"workspace": workspace, "valid": valid, "changed": changed, "requeued": requeued}


def no_connection(workspace: UUID) -> ConfigurationError:
    """The error where a workspace has no connection."""
    return ConfigurationError(
        f"Workspace {workspace} has no connection: "
        f"`python -m reactor connect --workspace {workspace} --calendar …` makes one."
    )


def store(admin: AdminSession, workspace: UUID, calendar: str, stored: str, by: ActAuthor) -> Document:
    """Store a consent, encrypted; return the result.

    Raises:
        ConfigurationError: There is no such workspace.
    """
    requeued = admin.one(SQL["dead_of_auth"], workspace=workspace, cap=REQUEUED)["n"]
    with _known(workspace), admin.connection.transaction():
        before = admin.one(SQL["connect"], workspace=workspace, token=stored, calendar=calendar)["before"]
        result = {"new": before is None, "calendar_changed": before not in (None, calendar), "requeued": requeued}
        acts.record(admin, by, ActKind.CONNECT, workspace=workspace, target={"calendar": calendar}, result=result)
    return {"workspace": workspace, "calendar": calendar, **result}


def dry_run_connect(admin: AdminSession, workspace: UUID, calendar: str) -> None:
    """Make sure that a consent could be stored, before a person is asked for it.

    Raises:
        ConfigurationError: It could not.
    """
    with _known(workspace):
        admin.dry_run(SQL["connect"], workspace=workspace, token=_NO_TOKEN, calendar=calendar)


@contextmanager
def _known(workspace: UUID) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.ForeignKeyViolation as error:
        raise ConfigurationError(
            f"There is no workspace {workspace} in the application's table; take the id from there."
        ) from error
