"""The loop and the ports that it declares."""

from reactor.loop.loop import Loop
from reactor.loop.ports import (
    CalendarPort,
    ClaimedPort,
    Observer,
    OutboxPort,
    RebuildsPort,
    SweptPort,
    Tokens,
    TokensOf,
    WakeupsPort,
)

__all__ = [
    "CalendarPort",
    "ClaimedPort",
    "Loop",
    "Observer",
    "OutboxPort",
    "RebuildsPort",
    "SweptPort",
    "Tokens",
    "TokensOf",
    "WakeupsPort",
]
