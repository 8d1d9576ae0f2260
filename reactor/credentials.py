"""The workspaces' accounts with Google: from the consent that is stored to access tokens, and back when Google rotates.

What is stored, a refresh token or a service account's key, is encrypted by the token cipher. One that cannot be decrypted is
the operator's fault (a key is missing or was replaced) or the row's (it was cut off, changed or moved). The former
holds the workspace's items and counts nothing; the latter takes a person who connects again, so the connection is
marked invalid like one that Google refuses.
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
    another key. We find the existing token source by the decrypted token. Otherwise every claim would refresh where
    every refresh rotates; and of two sources of one account the second would use a token that the first has used up,
    and take the answer for a dead consent.

    Args:
        cipher: Encrypts and decrypts.
        pool: Connections to the database.
        exchange: Fetches access tokens.
        account: Makes the account behind what was decrypted; raises StoredCredentialError where there is none.
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
        self._origins: OrderedDict[str, str] = OrderedDict()  # by stored text: the text that the account was met with
        self._met: OrderedDict[bytes, str] = OrderedDict()  # the same, by what is encrypted

    def tokens_of(self, item: Item) -> TokenSource | Retry | Dead:
        """Return where the access tokens for an item come from, or why there can be none."""
        return self.tokens(item.workspace_id, item.consent.token)

    def tokens(self, workspace_id: UUID, stored: str) -> TokenSource | Retry | Dead:
        """Return where the access tokens of a stored consent come from, or why there can be none."""
        try:
            return self._sources.get(
                workspace_id,
                self._origin(workspace_id, stored),
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
        """Store a rotated token where the one that it replaces is still stored; called again if it raises."""
        while (old := await stored_token(self._pool, rotated.workspace_id)) is not None:
            if self._cipher.decrypt(rotated.workspace_id, old) != rotated.used:
                break
            new = self._cipher.encrypt(rotated.workspace_id, rotated.new)
            origin = self._origin(rotated.workspace_id, old)
            _keep(self._origins, new, origin)  # before a claim can find it
            _keep(self._met, _digest(rotated.workspace_id, rotated.new), origin)
            if await replace_token(self._pool, rotated.workspace_id, old=old, new=new):
                log.info("refresh_token_rotated", workspace_id=str(rotated.workspace_id))
                return
        log.warning("rotated_refresh_token_of_a_former_consent", workspace_id=str(rotated.workspace_id))

    def _origin(self, workspace_id: UUID, stored: str) -> str:
        """The text that the account was met with first; raises TokenCipherError where this one cannot be decrypted."""
        origin = self._origins.get(stored)
        if origin is None:
            digest = _digest(workspace_id, self._cipher.decrypt(workspace_id, stored))
            origin = self._met.get(digest, stored)
            _keep(self._met, digest, origin)
        _keep(self._origins, stored, origin)
        return origin


def _digest(workspace_id: UUID, secret: str) -> bytes:
    return hashlib.sha256(workspace_id.bytes + secret.encode("utf-8", "surrogatepass")).digest()


def _keep(known: OrderedDict[K, str], key: K, origin: str) -> None:
    known[key] = origin
    known.move_to_end(key)
    while len(known) > CAPACITY:
        known.popitem(last=False)
