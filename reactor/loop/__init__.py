"""The loop and the ports that it declares."""

from reactor.loop.loop import Loop
from reactor.loop.ports import Calendar, Claimed, Observer, Outbox, Rebuilds, Swept, Tokens, TokensOf, Wakeups

__all__ = ["Calendar", "Claimed", "Loop", "Observer", "Outbox", "Rebuilds", "Swept", "Tokens", "TokensOf", "Wakeups"]
