"""Consents that were asked for at Google and not given yet: which browser asked, and for what.

Google's answer comes back with the `state` of a question, and counts only in the browser that asked it: that one has a
cookie, of which the hash is kept here with the question. So a link with an answer that a stranger sends does nothing.
They are kept in memory, because each lives for minutes: if the console ends meanwhile, the person opens the link again.
"""

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass, field
from hmac import compare_digest

from reactor.google.consent import ConsentQuestion

MOST = 200
"""Questions at one time; one more makes the oldest be asked again."""
SECONDS = 900
"""For which a question may be answered."""


@dataclass(frozen=True, slots=True)
class AskedConsent:
    """A question that is open at Google.

    Attributes:
        invitation: The secret of the invitation that was followed.
        question: The address that was opened, and what proves its answer.
        browser: The hash of the cookie of the browser that asked.
        until: Until when it may be answered, by the same clock as `now`.
    """

    invitation: str = field(repr=False)
    question: ConsentQuestion
    browser: bytes = field(repr=False)
    until: float


class AskedConsents:
    """Keeps the questions that are open at Google, until they are answered or too old."""

    def __init__(self) -> None:
        self._asked: OrderedDict[bytes, AskedConsent] = OrderedDict()

    def ask(self, invitation: str, question: ConsentQuestion, *, now: float) -> str:
        """Remember a question; return the cookie for the browser that asks."""
        cookie = secrets.token_urlsafe(32)
        self._asked[_hash(question.state)] = AskedConsent(invitation, question, _hash(cookie), now + SECONDS)
        while len(self._asked) > MOST:
            self._asked.popitem(last=False)
        return cookie

    def take(self, state: str, cookie: str, *, now: float) -> AskedConsent | None:
        """Find the question of an answer, once, and only for the browser that asked it."""
        found = self._asked.get(_hash(state))
        if found is None or now >= found.until or not compare_digest(found.browser, _hash(cookie)):
            return None
        return self._asked.pop(_hash(state))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()
