"""`reactor.token_encryption` by its name in release 0.1, for applications that encrypt their tokens with it."""

from reactor.token_encryption import TokenCipher as Vault

__all__ = ["Vault"]
