"""The printed key of the loopback, and the cookies that browsers have got for one.

A key is good for one browser. When it is used, another takes its place and is announced, so there is always one link
left to use. Cookies are random, are remembered in memory as hashes, and end with the process.
"""

import hashlib
import secrets
from collections import deque
from collections.abc import Callable
from hmac import compare_digest

MOST = 20
"""Browsers at once; one more makes the oldest ask for a link again."""
_LENGTH = 32  # bytes of a key and of a cookie


class VisitorKeys:
    """Makes the printed keys, one after the other, and knows the cookies that were given for them.

    Args:
        announce: Called with each new key.
    """

    def __init__(self, announce: Callable[[str], object] = lambda _: None) -> None:
        self._announce = announce
        self._key = ""
        self._cookies: deque[bytes] = deque(maxlen=MOST)

    def renew(self) -> None:
        """Make a new key and announce it; the key before it is no longer valid."""
        self._key = secrets.token_urlsafe(_LENGTH)
        self._announce(self._key)

    def exchange(self, key: str) -> str | None:
        """Take a key; return a cookie for it, or None where it is not the key."""
        if not (self._key and compare_digest(key.encode(), self._key.encode())):
            return None
        cookie = secrets.token_urlsafe(_LENGTH)
        self._cookies.append(_hashed(cookie))
        self.renew()
        return cookie

    def knows(self, cookie: str) -> bool:
        """Whether such a cookie was given."""
        return _hashed(cookie) in self._cookies


def _hashed(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
