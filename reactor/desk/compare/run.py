"""A comparison from settings to result: opens what it takes, compares one workspace or all, and closes it again."""

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from uuid import UUID

import httpx
import trio

from reactor.credential_store import CredentialStore
from reactor.desk.compare.comparing import SQL, Comparing, FailedForAllError
from reactor.desk.compare.comparison import Comparison
from reactor.errors import ReactorError
from reactor.google.credentials import account_of
from reactor.google.network import client_options
from reactor.google.reader import Pace
from reactor.google.token_exchange import TokenExchange
from reactor.google.transport import Timeouts, Transport
from reactor.postgres.connection.pool import Pool
from reactor.process.concurrency import one_error
from reactor.settings import DatabaseSettings, EncryptionSettings, GoogleSettings

_PORTION = 100  # workspaces
_LAST_TOKENS = 5.0  # seconds, at the end, for refresh tokens that Google has rotated meanwhile


class DriftSettings(EncryptionSettings, GoogleSettings, DatabaseSettings):
    """All settings that a comparison needs, so that all problems are reported at once."""


@dataclass(frozen=True, slots=True)
class DriftManner:
    """How to compare.

    Attributes:
        rate: Calls to Google a second, at most.
        words: Whether findings show texts, and not their lengths.
        patience: Seconds that a change may wait in the outbox before its difference counts.
        lookups: Events of a workspace that are asked for one by one, where no list has them.
    """

    rate: float = 5.0
    words: bool = False
    patience: float = 900.0
    lookups: int = 100


async def compare_one(settings: DriftSettings, workspace: UUID, manner: DriftManner) -> Comparison:
    """Compare one workspace.

    Raises:
        ReactorError: It cannot begin: no database, a view that may not be read, or Google answers for no workspace.
    """
    found = Comparison()
    with one_error(ReactorError):
        async with _opened(settings, manner) as comparing:
            found.take(await comparing.compare(workspace))
    return found


async def compare_all(settings: DriftSettings, manner: DriftManner, advance: Callable[[int], object]) -> Comparison:
    """Compare the workspaces whose connection works, one after the other; raises what `compare_one` raises.

    Args:
        settings: All that can be set.
        manner: How to compare.
        advance: Called with 1 for each that is done.
    """
    found = Comparison()
    with one_error(ReactorError):
        async with _opened(settings, manner) as comparing:
            await _each(comparing, found, advance)
    return found


async def _each(comparing: Comparing, found: Comparison, advance: Callable[[int], object]) -> None:
    after: UUID | None = None
    while rows := await comparing.pool.execute(SQL["connections_after"], {"after": after, "rows": _PORTION}):
        for workspace, is_valid in rows:
            after = workspace
            if not is_valid:
                found.invalid += 1
                continue
            try:
                found.take(await comparing.compare(workspace), of_many=True)
            except FailedForAllError as error:
                found.stopped = str(error)
                return
            advance(1)


@asynccontextmanager
async def _opened(settings: DriftSettings, manner: DriftManner) -> AsyncIterator[Comparing]:
    pool = Pool(settings.database_url.get_secret_value(), name="calendar-sync-reactor drift")
    transport = Transport(settings.google_api_root, Timeouts())
    async with (
        aclosing(pool),
        aclosing(transport),
        httpx.AsyncClient(**client_options(settings.google_token_uri)) as client,
        trio.open_nursery() as exchanges,
    ):
        account = partial(account_of, client=settings.oauth_client)
        credentials = CredentialStore(settings.token_cipher, pool, TokenExchange(client), account, exchanges)
        yield Comparing(pool, credentials, transport, Pace(manner.rate), manner.words, manner.patience, manner.lookups)
        exchanges.cancel_scope.deadline = trio.current_time() + _LAST_TOKENS
