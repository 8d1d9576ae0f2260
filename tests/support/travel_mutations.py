"""Faults of the kinds that histories of time travel are about, to be put back and found.

Each is a change of the code, or of a function in the database; it stays as long as the test.
"""

from collections.abc import Callable, Generator
from typing import Any

import psycopg
import pytest

from reactor.core.calendar import foreign_fields, intent, messages, removal, upsert
from reactor.core.calendar.dialogue import SeenCalendars
from reactor.housekeeping import Housekeeping
from reactor.postgres import settling

Patch = Callable[[pytest.MonkeyPatch, str], None]


def _believes(monkeypatch: pytest.MonkeyPatch, _: str) -> None:
    def sees(*_: Any, **__: Any) -> Generator[Any, Any, bool]:
        yield from ()
        return True

    monkeypatch.setattr(SeenCalendars, "sees", sees)


def _any_version(monkeypatch: pytest.MonkeyPatch, _: str) -> None:
    """What a write meets is not looked at: every version will do."""

    def fenceless(write: Any) -> Any:
        return lambda place, body, **_: write(place, body, etag="*")

    for name in ("update", "patch"):
        monkeypatch.setattr(messages, name, fenceless(getattr(messages, name)))


def _replaces(monkeypatch: pytest.MonkeyPatch, _: str) -> None:
    monkeypatch.setattr(foreign_fields, "put_more_into", lambda *_: False)


def _two_calendars(monkeypatch: pytest.MonkeyPatch, _: str) -> None:
    monkeypatch.setattr(intent.SyncIntent, "uncertain", False)
    monkeypatch.setattr(removal, "_is_same", lambda *_: False)  # else the event that was just written is spared


def _any_account(monkeypatch: pytest.MonkeyPatch, _: str) -> None:
    """What `primary` stood for is neither remembered nor found out."""
    monkeypatch.setattr(upsert, "own_name", lambda name, _: name)
    monkeypatch.setattr(intent.SyncIntent, "of_unknown_account", False)


def _forgets_floors(monkeypatch: pytest.MonkeyPatch, _: str) -> None:
    right = settling._input
    monkeypatch.setattr(settling, "_input", lambda settlement: right(settlement) | {"floor": 0})


def _has_no_order(monkeypatch: pytest.MonkeyPatch, owner: str) -> None:
    """Neither here nor at Google."""
    _forgets_floors(monkeypatch, owner)
    for module in (upsert, removal):
        monkeypatch.setattr(module, "stop_if_superseded", lambda *_: None)


def _revives_nothing(monkeypatch: pytest.MonkeyPatch, _: str) -> None:
    monkeypatch.setattr(intent.SyncIntent, "may_revive", False)


def _never_mended(monkeypatch: pytest.MonkeyPatch, owner: str) -> None:
    async def verify(_: Housekeeping) -> list[str]:
        return []  # it would say that the function is not ours

    monkeypatch.setattr(Housekeeping, "verify", verify)
    _execute(
        owner,
        "create or replace function sync_order_mend(cause text, met bigint) returns boolean language sql as"
        " 'select false'",
    )


def _goes_over(_: pytest.MonkeyPatch, owner: str) -> None:
    """A dead letter that is put back counts as new."""
    _execute(
        owner,
        "create function put_back() returns trigger language plpgsql as"
        " $$ begin new.seq := nextval('sync_outbox_seq'); return new; end $$;"
        " create trigger put_back before update on sync_outbox for each row"
        " when (old.status = 'DEAD_LETTER' and new.status = 'PENDING') execute function put_back()",
    )


def _execute(owner: str, statement: str) -> None:
    with psycopg.connect(owner) as connection:
        connection.execute(statement.encode())


FAULTS: dict[str, Patch] = {
    "believes a 404 without seeing the calendar": _believes,
    "goes by no version": _any_version,
    "replaces what other hands did": _replaces,
    "takes two names for two calendars": _two_calendars,
    "does not notice another account": _any_account,
    "forgets floors": _forgets_floors,
    "forgets floors, and goes over newer states": _has_no_order,
    "brings nothing back": _revives_nothing,
    "never mends the sequence": _never_mended,
    "lets a dead letter go over what is newer": _goes_over,
}
