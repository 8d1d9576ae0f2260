"""The workspaces' stored credentials: from stored text to access tokens, and back when Google rotates a refresh token.

The stored text, a refresh token or a service account's key, is encrypted (`reactor.token_encryption`). If it cannot be
decrypted, either a key is missing or was replaced, which is the operator's fault, or the row was cut off, changed or
moved. In the first case the workspace's items wait and no attempt is counted. In the second a person must connect
again, so the connection is marked invalid, as it is when Google refuses the credential.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import TypeVar
from uuid import UUID

import structlog
import trio

from reactor.core.item import Item
from reactor.core.outcome import Dead, FailureCode, Retry, Scope
from reactor.errors import ConfigurationError
from reactor.google.credentials import NoClientError, StoredCredentialError
from reactor.google.token_exchange import Account, TokenExchange
from reactor.google.tokens import CAPACITY, Rotated, TokenSource, TokenSources
from reactor.postgres.connection.pool import Pool
from reactor.postgres.stored_tokens import replace_token, stored_token
from reactor.token_encryption import TokenCipher, TokenCipherError

K = TypeVar("K")

KEY_PAUSE = 60.0
"""Seconds until a token that the keys cannot decrypt is tried again: the keys change with a restart only, and until
then a replica that already has the new key may take the items."""

log = structlog.get_logger(__name__)

_NO_KEY = Retry("the stored token cannot be decrypted with our keys", counts=False, scope=Scope.LANE, after=KEY_PAUSE)
_NO_CLIENT = Retry(
    "GOOGLE_CLIENT_ID is none, and a refresh token needs an OAuth client",
    counts=False,
    scope=Scope.LANE,
    after=KEY_PAUSE,
)
_DAMAGED = Dead(
    FailureCode.AUTH,
    "the stored token is damaged or of another workspace",
    scope=Scope.LANE,
    connection_invalid=True,
    asked=False,
)


class CredentialStore:
    """Access tokens by workspace and consent.

    A changed ciphertext usually means a new consent, but it may be the same token, rotated by Google or encrypted with
    another key. We find the existing token source by the decrypted token. Without that, every claim would refresh the
    token where every refresh rotates it; and of two sources of one account the second would send a token that the first
    has used up, and mistake the answer for a revoked consent.

    Args:
        cipher: Encrypts and decrypts.
        pool: Connections to the database.
        exchange: Fetches access tokens.
        account: Makes the account from a decrypted text; raises StoredCredentialError where it is no credential.
        nursery: Where exchanges run; it must outlive every caller.

    Attributes:
        undecipherable: How often a stored token could not be decrypted.
    """

    def __init__(
        self,
        cipher: TokenCipher,
        pool: Pool,
        exchange: TokenExchange,
        account: Callable[[str], Account],
        nursery: trio.Nursery,
    ) -> None:
        self.undecipherable = 0
        self._cipher = cipher
        self._pool = pool
        self._account = account
        self._sources = TokenSources(exchange, self._store, nursery)
        self._canonical: OrderedDict[str, str] = OrderedDict()  # the first text seen of an account, by stored text
        self._by_secret: OrderedDict[bytes, str] = OrderedDict()  # the same, by a digest of the secret

    def tokens_of(self, item: Item) -> TokenSource | Retry | Dead:
        """Return the source of access tokens for an item, or the outcome where there is none."""
        return self.tokens(item.workspace_id, item.connection.token)

    def tokens(self, workspace_id: UUID, stored: str) -> TokenSource | Retry | Dead:
        """Return the source of access tokens for a stored text, or the outcome where there is none."""
        try:
            return self._sources.get(
                workspace_id,
                self._canonical_text(workspace_id, stored),
                lambda: self._account(self._cipher.decrypt(workspace_id, stored)),
            )
        except NoClientError:
            log.warning("no_access_token", workspace_id=str(workspace_id), reason=_NO_CLIENT.reason)
            return _NO_CLIENT
        except (TokenCipherError, StoredCredentialError) as error:
            self.undecipherable += 1
            log.error("token_not_decrypted", workspace_id=str(workspace_id), problem=str(error))  # noqa: TRY400
            return _NO_KEY if isinstance(error, ConfigurationError) else _DAMAGED

    async def _store(self, rotated: Rotated) -> None:
        """Store a rotated token if the one that it replaces is still stored; the caller tries again if this raises."""
        while (old := await stored_token(self._pool, rotated.workspace_id)) is not None:
            if self._cipher.decrypt(rotated.workspace_id, old) != rotated.used:
                break
            new = self._cipher.encrypt(rotated.workspace_id, rotated.new)
            canonical = self._canonical_text(rotated.workspace_id, old)
            _keep(self._canonical, new, canonical)  # before a claim can find it
            _keep(self._by_secret, _digest(rotated.workspace_id, rotated.new), canonical)
            if await replace_token(self._pool, rotated.workspace_id, old=old, new=new):
                log.info("refresh_token_rotated", workspace_id=str(rotated.workspace_id))
                return
        log.warning("rotated_refresh_token_of_a_former_consent", workspace_id=str(rotated.workspace_id))

    def _canonical_text(self, workspace_id: UUID, stored: str) -> str:
        """The first text that we saw of the account; raises TokenCipherError where this one cannot be decrypted."""
        canonical = self._canonical.get(stored)
        if canonical is None:
            digest = _digest(workspace_id, self._cipher.decrypt(workspace_id, stored))
            canonical = self._by_secret.get(digest, stored)
            _keep(self._by_secret, digest, canonical)
        _keep(self._canonical, stored, canonical)
        return canonical


def _digest(workspace_id: UUID, secret: str) -> bytes:
    return hashlib.sha256(workspace_id.bytes + secret.encode("utf-8", "surrogatepass")).digest()


def _keep(cache: OrderedDict[K, str], key: K, canonical: str) -> None:
    cache[key] = canonical
    cache.move_to_end(key)
    while len(cache) > CAPACITY:
        cache.popitem(last=False)
