"""What the tests of the Google client share: tokens out of the emulator, items, memories of items."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from calendar_emulator import Emulator
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.token_answers import GrantType
from reactor.core.outcome import Dead, Done, Retry
from reactor.core.payload import parse, source_key
from reactor.google.tokens import TokenUnavailable
from tests.support.dialogues import WORKSPACE, cancel_json, upsert_json
from tests.support.google_fixtures import USER


class Tokens:
    """Access tokens straight out of the emulator.

    Attributes:
        refreshes: How often a new one was needed.
        failure: The outcome of there being none, from now on.
        quota_user: Whose quota requests count against.
    """

    quota_user: str | None = None
    grant = GrantType.USER

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator
        self.current = emulator.issue_access_token(USER)
        self.refreshes = 0
        self.failure: Retry | Dead | None = None

    async def token(self, rejected: str | None = None) -> str:
        if self.failure:
            raise TokenUnavailable(self.failure)
        if rejected == self.current:
            self.refreshes += 1
            self.current = self._emulator.issue_access_token(USER)
        return self.current


class Static:
    """Tokens that nobody checks."""

    quota_user = None
    grant = GrantType.USER

    async def token(self, rejected: str | None = None) -> str:
        return "token" if rejected is None else "another"


def source_id(number: int) -> str:
    return str(UUID(int=number))


def item(number: int, title: str = "", *, calendar_id: str = USER, cancel: bool = False, **memory: Any) -> SyncIntent:
    """An item of the source with a number."""
    shape = cancel_json(calendar_id) if cancel else upsert_json(title or f"event {number}", calendar_id)
    payload: Any = parse(shape["operation"], WORKSPACE, {**shape, "sourceId": source_id(number)})
    return SyncIntent(WORKSPACE, source_key("task", source_id(number)), memory.pop("seq", 1), payload, **memory)


def after(work: SyncIntent, done: Done, following: SyncIntent) -> SyncIntent:
    """The next item of a source, with what the one before it left behind."""
    assert work.source_key == following.source_key
    return replace(
        following,
        generation=done.generation,
        bound_event_id=done.event_id if done.etag else None,
        bound_calendar_id=done.calendar_id if done.etag else None,
        etag=done.etag,
        cancelled=done.etag is None,
    )
