"""The judge itself, and what the emulator copies from the discovery document."""

from dataclasses import replace
from typing import Any

import pytest

from calendar_emulator import Exchange
from calendar_emulator.store.bodies import WRITABLE
from tests.support.discovery import Judge, document

EVENT = {"id": "aaaaa", "start": {"date": "2026-12-01"}, "end": {"date": "2026-12-02"}}
GOOD = Exchange(
    1, 0.0, "insert", "POST", "/calendar/v3/calendars/a%40b/events", {"sendUpdates": ["none"]},
    body=EVENT, status=200, answer=EVENT,
)  # fmt: skip
REFUSAL = {"error": {"code": 409, "message": "m", "errors": [{"domain": "d", "reason": "r", "message": "m"}]}}


def test_a_good_exchange_passes() -> None:
    judge = Judge()
    judge(GOOD)
    judge(replace(GOOD, status=409, answer=REFUSAL))
    judge.verdict()
    assert judge.judged.total() == 2


@pytest.mark.parametrize(
    "change",
    [
        {"method": "PUT"},
        {"path": "/calendar/v3/calendars/a/b/events"},
        {"query": {"sendUpdates": ["sometimes"]}},
        {"query": {"sendupdates": ["none"]}},
        {"query": {"maxAttendees": ["0"]}},
        {"query": {"sendUpdates": ["none", "none"]}},
        {"body": {**EVENT, "colour": "1"}},
        {"body": {**EVENT, "colorId": 1}},
        {"body": {**EVENT, "start": {"date": "2026-02-30"}}},
        {"body": {**EVENT, "start": {"dateTime": "2026-12-01 09:00"}}},
        {"body": {**EVENT, "extendedProperties": {"private": {"seq": 1}}}},
        {"body": {**EVENT, "summary": None}},
        {"body": {"summary": "neither start nor end"}},
        {"answer": {**EVENT, "sequence": "0"}},
        {"answer": {**EVENT, "unheard": "of"}},
        {"answer": None},
        {"status": 409, "answer": {"error": "invalid_grant"}},
        {"operation": "delete", "method": "DELETE", "path": "/calendar/v3/calendars/a/events/b", "body": None},
    ],
)
def test_a_contradiction_is_kept(change: dict[str, Any]) -> None:
    judge = Judge()
    judge(replace(GOOD, **change))
    with pytest.raises(AssertionError):
        judge.verdict()


def test_what_a_client_may_set_is_what_the_document_knows() -> None:
    server_side = {"created", "creator", "etag", "hangoutLink", "htmlLink", "kind", "locked", "organizer", "updated"}
    ruled = {"id", "iCalUID", "sequence"}
    instances = {"recurringEventId", "privateCopy", "endTimeUnspecified"}
    assert document()["schemas"]["Event"]["properties"].keys() - server_side - ruled - instances == WRITABLE
