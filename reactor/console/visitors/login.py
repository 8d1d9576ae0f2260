"""What the console's login may do: the ceiling for all visitors, asked of the database once a minute.

Where the database does not answer, nothing is known; then a visitor keeps what their groups allow, and the database
refuses the act by itself.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio

from reactor.console.visitors.access import Visitor
from reactor.desk.rights import LoginRights
from reactor.errors import ReactorError

GOOD_FOR = 60.0
"""Seconds for which an answer counts."""
_AWAY = 2.0  # seconds after which a database that was away is asked again


class LoginLimit:
    """Takes away from visitors what the database's login may not do.

    Args:
        ask: Asks the database what the login may do.
    """

    def __init__(self, ask: Callable[[], Awaitable[LoginRights]]) -> None:
        self._ask = ask
        self._asking = trio.Lock()
        self._last: LoginRights | None = None
        self._until = -1.0

    async def under(self, visitor: Visitor) -> Visitor:
        """Return the visitor with only those rights that the login has too."""
        if not (visitor.may_act or visitor.may_read_words):
            return visitor
        rights = await self._rights()
        if rights is None:
            return visitor
        return replace(
            visitor,
            may_act=visitor.may_act and rights.operator,
            may_read_words=visitor.may_read_words and rights.words,
        )

    async def _rights(self) -> LoginRights | None:
        async with self._asking:
            if trio.current_time() >= self._until:
                try:
                    self._last = await self._ask()
                except ReactorError:
                    self._last = None
                self._until = trio.current_time() + (GOOD_FOR if self._last else _AWAY)
            return self._last
