"""Asks Google for one event, with a workspace's own credentials: what `explain --google` shows.

We send one request, through the same client as the service's, and one for an access token before it. Nothing is
changed, except a refresh token that Google replaces meanwhile: that is stored, as the service would.
"""

from dataclasses import dataclass, field
from uuid import UUID

import httpx
import trio

from reactor.core.calendar.messages import EventRef, Reply, get
from reactor.core.calendar.token_answers import AccessToken, Answer
from reactor.core.explain.seen import GoogleReading, see
from reactor.core.outcome import Dead, Retry
from reactor.errors import ConfigurationError
from reactor.google.credentials import account_of
from reactor.google.network import client_options
from reactor.google.token_exchange import TokenExchange
from reactor.google.transport import Timeouts, Transport
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.statements import statements
from reactor.settings import EncryptionSettings, GoogleSettings
from reactor.token_encryption import TokenCipherError

SQL = statements("connections")


class GoogleReadSettings(EncryptionSettings, GoogleSettings):
    """The settings that a request to Google needs."""


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A workspace's stored credentials.

    Attributes:
        workspace: The workspace.
        text: The encrypted text, as it is stored.
        secret: The text in the clear.
    """

    workspace: UUID
    text: str = field(repr=False)
    secret: str = field(repr=False)


def stored_token(admin: AdminSession, settings: GoogleReadSettings, workspace: UUID) -> StoredToken:
    """Read a workspace's stored credentials.

    Raises:
        ConfigurationError: The workspace has no connection, or its token cannot be decrypted.
    """
    stored = admin.row(SQL["stored_token"], workspace_id=workspace)
    if stored is None:
        raise ConfigurationError(
            f"Workspace {workspace} has no connection, so Google cannot be asked: leave --google out."
        )
    text = stored["refresh_token_encrypted"]
    try:
        return StoredToken(workspace, text, settings.token_cipher.decrypt(workspace, text))
    except TokenCipherError as error:
        raise ConfigurationError(f"Google cannot be asked: {error}") from error


def look(
    admin: AdminSession, settings: GoogleReadSettings, workspace: UUID, place: EventRef, source: str | None = None
) -> GoogleReading:
    """Ask for the event at a place.

    Args:
        admin: The session, for the workspace's stored token.
        settings: The keys, the OAuth client, and where Google is.
        workspace: The workspace with whose credentials we ask.
        place: Where the event is.
        source: The source that it should be of; None where that is what is asked.

    Raises:
        ConfigurationError: The workspace has no connection, or its token cannot be decrypted.
    """
    token = stored_token(admin, settings, workspace)
    reading, renewed = trio.run(ask, settings, token, place, source)
    keep_renewed(admin, settings, token, renewed)
    return reading


async def ask(
    settings: GoogleReadSettings, token: StoredToken, place: EventRef, source: str | None
) -> tuple[GoogleReading, str | None]:
    """Ask for the event at a place, without the database.

    Returns:
        What Google holds, and the refresh token that it has replaced the stored one by, None where it has not.
    """
    answer, reply = await _exchange(settings, token.secret, place)
    given = answer.refresh_token if isinstance(answer, AccessToken) else None
    renewed = None if given == token.secret else given
    return see(reply, str(token.workspace) if source else None, source), renewed


def keep_renewed(admin: AdminSession, settings: GoogleReadSettings, token: StoredToken, renewed: str | None) -> None:
    """Store the refresh token that has replaced a stored one, unless that has changed meanwhile."""
    if renewed:
        new = settings.token_cipher.encrypt(token.workspace, renewed)
        admin.rows(SQL["replace_token"], workspace_id=token.workspace, old=token.text, new=new)


async def _exchange(settings: GoogleReadSettings, secret: str, place: EventRef) -> tuple[Answer, Reply | Retry | Dead]:
    account = account_of(secret, settings.oauth_client)
    async with (
        Transport(settings.google_api_root, Timeouts()) as transport,
        httpx.AsyncClient(**client_options(settings.google_token_uri)) as client,
    ):
        answer = await TokenExchange(client, threads=1).refresh(account)
        if not isinstance(answer, AccessToken):
            return answer, answer
        return answer, await transport.send(get(place), answer.access_token)
