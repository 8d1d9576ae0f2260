"""How an item ends, rule by rule."""

import json
import math
from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from reactor.core.backoff import HOLD_CAP
from reactor.core.calendar import answers
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.prune import PruneTarget
from reactor.core.dispatch.evidence import Answered
from reactor.core.item import AppliedReference, Item, Oversized, Settlement, SourceState, WorkspaceConnection
from reactor.core.outcome import Dead, Done, Expanded, FailureCode, Outcome, Retry, Scope, Superseded
from reactor.core.policy import (
    AGE_BOUND,
    LONGEST_ERROR,
    UNEXPECTED_ERROR,
    blame_one,
    fail_unexpectedly,
    prepare,
    release,
    release_unknown,
    settle,
)
from tests.support.dialogues import CALENDAR, KEY, OTHER, WORKSPACE, cancel_json, upsert_json

DONE = Done("event1", CALENDAR, 3, '"etag"')
BOUND = SourceState(floor_seq=4, generation=2, event_id="event0", calendar_id=CALENDAR, etag='"old"')


def item(payload: Any = None, **fields: Any) -> Item:
    payload = upsert_json() if payload is None else payload
    known: dict[str, Any] = {
        "id": uuid4(),
        "workspace_id": UUID(WORKSPACE),
        "source_key": KEY,
        "seq": 7,
        "claim_no": 1,
        "operation": payload.get("operation", "UPSERT_EVENT"),
        "payload": payload,
        "attempts": 0,
        "max_attempts": 5,
        "age": 1.0,
        "is_child": False,
        "memory": SourceState(),
        "connection": WorkspaceConnection("encrypted", "v1"),
    }
    return Item(**known | fields)


def prepared(claimed: Item) -> SyncIntent:
    work = prepare(claimed)
    assert isinstance(work, SyncIntent)
    assert prepare(as_text(claimed)) == work, "the payload as JSON text is read as the decoded one is"
    return work


def refused(claimed: Item) -> Settlement:
    settlement = prepare(claimed)
    assert isinstance(settlement, Settlement)
    assert prepare(as_text(claimed)) == replace(settlement, item=as_text(claimed))
    return settlement


def as_text(claimed: Item) -> Item:
    return replace(claimed, payload=json.dumps(claimed.payload).encode())


def end(claimed: Item, outcome: Outcome, *, answered: Answered = Answered.WORKSPACE, ceiling: int = 5) -> Settlement:
    return settle(claimed, prepared(claimed), outcome, answered=answered, random=0.0, ceiling=ceiling)


# Before anything is sent


def test_what_is_remembered_goes_into_the_work() -> None:
    memory = SourceState(4, 2, "event0", OTHER, '"old"', cancelled=True, reopen=True, possible_calendars=(CALENDAR,))
    work = prepared(item(memory=memory))
    assert (work.workspace_id, work.source_key, work.seq) == (WORKSPACE, KEY, 7)
    assert (work.generation, work.bound_event_id, work.bound_calendar_id) == (2, "event0", OTHER)
    assert (work.etag, work.cancelled, work.reopen, work.possible_calendars) == ('"old"', True, True, (CALENDAR,))


def test_a_child_of_a_rebuild_may_bring_back_what_a_person_deleted() -> None:
    assert not prepared(item()).reopen
    assert prepared(item(is_child=True)).reopen


@pytest.mark.parametrize("impossible", ["", "..", " primary", "primary\n", "\u2003x", "x" * 1025])
def test_a_note_of_what_cannot_be_a_calendar_is_ignored(impossible: str) -> None:
    """An older worker noted whatever a lost row named; every edit of the source would ask for an event in it."""
    assert prepared(item(memory=replace(BOUND, possible_calendars=(impossible, OTHER)))).possible_calendars == (OTHER,)
    settlement = refused(item(upsert_json() | {"calendarId": impossible}))
    assert settlement.failure_code is FailureCode.BAD_PAYLOAD, "as in a payload"


@pytest.mark.parametrize(
    "wrong",
    [
        {"workspaceId": str(uuid4())},
        {"operation": "CANCEL_EVENT"},
        {"event": {"title": "", "start": "2026-12-01", "end": "x"}},
    ],
)
def test_a_row_that_contradicts_its_payload_is_dead_before_anything_is_sent(wrong: dict[str, Any]) -> None:
    settlement = refused(item(upsert_json() | wrong, operation="UPSERT_EVENT", attempts=2))
    assert (settlement.status, settlement.failure_code) == ("DEAD_LETTER", FailureCode.BAD_PAYLOAD)
    assert settlement.attempts == 2
    assert not settlement.moves_floor, "the next older state is the best there is"
    assert settlement.memory is None
    assert str(next(iter(wrong))) in str(settlement.last_error), "it names the field"


@pytest.mark.parametrize("is_child", [False, True])
@pytest.mark.parametrize(
    "text", [b"", b"[" * 3_000, b'{"stray": ' + b"1" * 5_000 + b"}", b'{"stray": ' + b"[" * 100_000, b'"stray \xff"']
)
def test_json_that_cannot_be_read_is_a_dead_letter_of_its_own(text: bytes, *, is_child: bool) -> None:
    settlement = prepare(replace(item(is_child=is_child), payload=text))
    assert isinstance(settlement, Settlement)
    assert settlement.failure_code is FailureCode.BAD_PAYLOAD
    assert str(settlement.last_error).startswith("payload: ")


def test_a_payload_that_was_not_fetched_is_a_dead_letter() -> None:
    settlement = prepare(replace(item(is_child=True), payload=Oversized(10**9)))
    assert isinstance(settlement, Settlement)
    assert (settlement.status, settlement.failure_code) == ("DEAD_LETTER", FailureCode.BAD_PAYLOAD)
    assert str(settlement.last_error).startswith("payload: 1,000,000,000 bytes as JSON")


def test_an_error_text_is_bounded() -> None:
    settlement = refused(item(upsert_json(recurrence=["x"] * 200)))
    assert len(str(settlement.last_error)) == LONGEST_ERROR


def test_a_cancel_moves_the_floor_even_if_its_payload_is_bad() -> None:
    settlement = refused(item(cancel_json(googleEventId="..")))
    assert settlement.failure_code is FailureCode.BAD_PAYLOAD
    assert settlement.moves_floor, "falling back to an older state would bring back what was to go away"


def test_only_a_child_recreates_its_event_and_overrules_what_the_calendar_shows() -> None:
    work = prepared(item(upsert_json() | {"recreate": True}, is_child=True))
    assert (work.recreate, work.repairs) == (True, True)
    work = prepared(item(upsert_json() | {"recreate": True}))
    assert (work.recreate, work.repairs) == (False, False)


def test_only_a_child_is_about_a_stray() -> None:
    stray = PruneTarget(WORKSPACE, CALENDAR, "event9", '"1"')
    assert prepared(item(stray.as_json(), is_child=True)).payload == stray
    assert refused(item(stray.as_json())).failure_code is FailureCode.BAD_PAYLOAD


@pytest.mark.parametrize(
    "wrong",
    [
        {"stray": 1},
        {"stray": {"eventId": "", "etag": '"1"'}},
        {"stray": {"eventId": "e", "etag": "1"}},
        {"calendarId": 1},
    ],
)
def test_a_stray_that_somebody_has_changed_is_refused(wrong: dict[str, Any]) -> None:
    payload = PruneTarget(WORKSPACE, CALENDAR, "event9", '"1"').as_json() | wrong
    assert refused(item(payload, is_child=True)).failure_code is FailureCode.BAD_PAYLOAD


# Rebuilds

REBUILD = {"operation": "REBUILD_ALL", "workspaceId": WORKSPACE, "calendarId": CALENDAR}


def test_a_rebuild_is_done_when_it_has_become_items() -> None:
    settlement = end(item(REBUILD, attempts=2), Expanded(10))
    assert (settlement.status, settlement.attempts, settlement.moves_floor) == ("COMPLETED", 2, True)
    assert settlement.memory is None
    assert settlement.last_error is None
    assert "3 events" in str(end(item(REBUILD), Expanded(10, left_alone=3)).last_error)


def test_a_rebuild_that_keeps_failing_is_tried_again_within_a_minute_and_notes_nothing() -> None:
    settlement = end(item(REBUILD, attempts=50, max_attempts=100), Retry("no", counts=True), ceiling=100)
    assert (settlement.status, settlement.attempts) == ("FAILED", 51)
    assert settlement.delay == 60
    assert settlement.memory is None


def test_a_rebuild_that_counts_nothing_stays_away_for_as_long_as_it_has_been_there() -> None:
    def pause(age: float, retry: Retry) -> float:
        return end(item(REBUILD, age=age), retry).delay

    mine, lanes = Retry("no", counts=False), Retry("no", counts=False, scope=Scope.LANE)
    assert [pause(age, mine) for age in (-math.inf, -5, 0, 1, 3, 7, 1e9, math.inf)] == [1, 1, 1, 2, 4, 8, 61, 61]
    assert [pause(age, lanes) for age in (0, 1, 3, 1e9)] == [1, 3, 7, 121]
    assert pause(3, answers.UNSENT) == 7
    assert end(item(age=1e9), mine).delay == 1, "an edit holds nobody back"
    assert end(item(REBUILD, age=3), Retry("no", counts=True)).delay == 1


def test_a_removed_stray_is_nothing_to_remember() -> None:
    claimed = item(PruneTarget(WORKSPACE, CALENDAR, "event9", '"1"').as_json(), is_child=True)
    settlement = end(claimed, DONE)
    assert (settlement.status, settlement.memory, settlement.applied) == ("COMPLETED", None, None)
    assert not settlement.moves_floor
    assert not settlement.unbind
    assert release_unknown(claimed, prepared(claimed)).memory is None


# Done


def test_a_written_event_is_remembered_and_bound() -> None:
    memory = replace(BOUND, possible_calendars=(OTHER,), reopen=True)
    claimed = item(memory=memory, attempts=2)
    settlement = end(claimed, DONE)
    assert (settlement.status, settlement.attempts, settlement.failure_code) == ("COMPLETED", 2, None)
    assert settlement.moves_floor
    assert settlement.last_error is None
    assert settlement.memory == SourceState(4, 3, "event1", CALENDAR, '"etag"'), "strays and reopen are cleared"
    assert settlement.applied is AppliedReference.ROW
    assert settlement.binding is not None
    assert (settlement.binding.event_id, settlement.binding.source_type) == ("event1", "task")
    assert settlement.binding.start == "2026-12-01T09:00:00+00:00"
    assert not settlement.unbind


@pytest.mark.parametrize(
    ("start", "zone", "bound"),
    [
        ("2026-07-01T09:00:00", "Europe/Berlin", "2026-07-01T09:00:00+02:00"),
        ("2026-07-01T09:00:00", "Europe/Nowhere", "2026-07-01T09:00:00+00:00"),
        ("2026-07-01T09:00:00", "Europe", "2026-07-01T09:00:00+00:00"),
        ("2026-07-01T09:00:00-03:00", "Europe/Berlin", "2026-07-01T09:00:00-03:00"),
    ],
)
def test_a_binding_shows_points_in_time(start: str, zone: str, bound: str) -> None:
    claimed = item(upsert_json(start=start, end="2026-07-02T09:00:00-03:00", timeZone=zone))
    binding = end(claimed, DONE).binding
    assert binding is not None
    assert binding.start == bound


def test_a_binding_of_whole_days_shows_days() -> None:
    binding = end(item(upsert_json(start="2026-12-01", end="2026-12-02", isAllDay=True)), DONE).binding
    assert binding is not None
    assert (binding.start, binding.end) == ("2026-12-01", "2026-12-02")


def test_a_cancel_forgets_the_event_and_remembers_that_it_was_ours() -> None:
    settlement = end(item(cancel_json(), memory=BOUND), Done("event0", CALENDAR, 2))
    assert settlement.memory == SourceState(4, 2, cancelled=True)
    assert settlement.unbind
    assert settlement.binding is None
    assert settlement.applied is None


def test_what_primary_stands_for_is_remembered_and_the_binding_keeps_the_applications_name() -> None:
    settlement = end(item(upsert_json(calendar_id="primary")), Done("event1", CALENDAR, 0, '"e"'))
    assert settlement.memory is not None
    assert settlement.binding is not None
    assert (settlement.memory.calendar_id, settlement.binding.calendar_id) == (CALENDAR, "primary")


def test_what_a_person_should_know_of_a_completed_item_is_in_its_row() -> None:
    settlement = end(item(memory=BOUND), replace(DONE, note="a note", possible_calendars=(OTHER,)))
    assert (settlement.status, settlement.last_error) == ("COMPLETED", "a note")
    assert settlement.memory is not None
    assert settlement.memory.possible_calendars == (OTHER,)


def test_an_event_that_was_written_is_remembered_in_a_dead_letter_too() -> None:
    settlement = end(
        item(memory=BOUND), replace(answers.LEFT_BEHIND, written=replace(DONE, possible_calendars=(OTHER,)))
    )
    assert (settlement.status, settlement.failure_code) == ("DEAD_LETTER", FailureCode.CALENDAR_GONE)
    assert settlement.last_error == answers.LEFT_BEHIND.reason
    assert settlement.memory == SourceState(4, 3, "event1", CALENDAR, '"etag"', possible_calendars=(OTHER,))
    assert settlement.binding is not None
    assert settlement.applied is not None
    assert settlement.moves_floor


def test_a_cancel_that_could_not_see_a_calendar_may_have_removed_something_elsewhere() -> None:
    settlement = end(item(cancel_json(), memory=BOUND), answers.LEFT_BEHIND)
    assert settlement.memory == replace(BOUND, reopen=True)
    assert end(item(cancel_json(), memory=replace(BOUND, reopen=True)), answers.LEFT_BEHIND).memory is None
    assert end(item(memory=BOUND), answers.NO_CALENDAR).memory is None
    settlement = end(item(upsert_json(calendar_id=OTHER), memory=BOUND), answers.LEFT_BEHIND)
    assert settlement.memory == replace(BOUND, possible_calendars=(OTHER,))


def test_a_newer_state_in_the_calendar_completes_the_item_as_superseded() -> None:
    settlement = end(item(), Superseded(9))
    assert (settlement.status, settlement.failure_code) == ("COMPLETED", FailureCode.SUPERSEDED)
    assert settlement.moves_floor
    assert settlement.newer == 9, "whoever writes this may find that the place is from another time"


@pytest.mark.parametrize(
    ("outcome", "moves"),
    [(DONE, True), (Superseded(9), False), (answers.NO_CALENDAR, False), (answers.CONFLICTING, False)],
)
def test_a_child_moves_the_floor_only_where_it_was_applied(outcome: Outcome, *, moves: bool) -> None:
    assert end(item(is_child=True, attempts=4), outcome).moves_floor is moves


# Dead


@pytest.mark.parametrize(
    ("dead", "moves"),
    [
        (answers.BAD_REQUEST, False),
        (answers.NO_CALENDAR, True),
        (answers.EVENT_GONE, True),
        (answers.FORBIDDEN, True),
        (answers.REVOKED, True),
    ],
)
def test_the_floor_moves_for_all_but_content(dead: Dead, *, moves: bool) -> None:
    settlement = end(item(attempts=1), dead)
    assert (settlement.status, settlement.failure_code, settlement.attempts) == ("DEAD_LETTER", dead.code, 1)
    assert settlement.last_error == dead.reason
    assert end(item(), replace(dead, said="403 x")).last_error == f"{dead.reason} (403 x)"
    assert settlement.moves_floor is moves
    assert end(item(cancel_json()), dead).moves_floor, "a cancel's always does"


def test_an_event_that_a_person_deleted_is_unbound() -> None:
    memory = replace(BOUND, possible_calendars=(OTHER,))
    settlement = end(item(memory=memory), answers.EVENT_GONE)
    assert settlement.unbind
    assert settlement.memory == SourceState(4, 2, possible_calendars=(OTHER,))


def test_only_a_dead_token_invalidates_the_connection() -> None:
    assert end(item(), answers.REVOKED).dead_token_version == "v1"
    assert end(item(), answers.FORBIDDEN).dead_token_version is None


# Again


def test_a_counted_attempt_backs_off_and_ends_at_the_maximum() -> None:
    delays = []
    for attempts in range(4):
        settlement = end(item(attempts=attempts), answers.SERVER)
        assert (settlement.status, settlement.attempts) == ("FAILED", attempts + 1)
        delays.append(settlement.delay)
    assert delays == [1, 2, 4, 8]
    last = end(item(attempts=4), answers.SERVER)
    assert (last.status, last.attempts, last.failure_code) == ("DEAD_LETTER", 5, FailureCode.EXHAUSTED)
    assert last.moves_floor
    assert last.memory == SourceState(possible_calendars=(CALENDAR,))


def test_the_lower_of_the_rows_maximum_and_the_ceiling_holds() -> None:
    assert end(item(max_attempts=1), answers.SERVER).status == "DEAD_LETTER"
    assert end(item(max_attempts=9, attempts=2), answers.SERVER, ceiling=3).status == "DEAD_LETTER"
    assert end(item(max_attempts=2, attempts=2), answers.SERVER).attempts == 2, "never above the row's maximum"


def test_a_longer_retry_after_wins() -> None:
    assert end(item(), replace(answers.SERVER, after=90.0)).delay == 90
    assert end(item(attempts=3), replace(answers.SERVER, after=0.5)).delay == 8


@pytest.mark.parametrize(
    ("retry", "answered"),
    [
        (answers.SERVER, Answered.NONE),
        (answers.LOST, Answered.NONE),
        (replace(answers.SERVER, scope=Scope.LANE), Answered.NEIGHBOUR),
        (answers.RATE, Answered.WORKSPACE),
        (answers.UNSENT, Answered.WORKSPACE),
        (answers.DISABLED, Answered.WORKSPACE),
    ],
)
def test_what_the_item_did_not_do_itself_counts_nothing_and_does_not_spin(retry: Retry, answered: Answered) -> None:
    for age in (0.0, 10 * AGE_BOUND):  # a backlog after a long weekend is not to pay for an outage of a minute
        settlement = end(item(age=age, attempts=4), retry, answered=answered)
        assert (settlement.status, settlement.attempts, settlement.failure_code) == ("PENDING", 4, None)
        assert settlement.delay >= 1
        assert not settlement.moves_floor


def test_what_a_person_has_to_mend_for_all_is_asked_again_every_minute() -> None:
    assert end(item(), replace(answers.DISABLED, after=3_600.0)).delay == HOLD_CAP
    assert end(item(), answers.QUOTA).delay == 3600


def test_a_quota_that_never_comes_back_is_a_dead_letter_in_the_end() -> None:
    assert end(item(age=AGE_BOUND - 1, attempts=4), answers.QUOTA).status == "PENDING"
    assert end(item(age=AGE_BOUND + 1, attempts=4), answers.QUOTA).failure_code is FailureCode.EXHAUSTED


@pytest.mark.parametrize(
    ("retry", "answered"),
    [
        (answers.SERVER, Answered.NEIGHBOUR),
        (answers.LOST, Answered.WORKSPACE),
        (replace(answers.SERVER, scope=Scope.LANE), Answered.WORKSPACE),
        (answers.UNREADABLE, Answered.NONE),
    ],
)
def test_what_others_fare_well_with_is_the_items_own(retry: Retry, answered: Answered) -> None:
    assert end(item(attempts=4), retry, answered=answered).failure_code is FailureCode.EXHAUSTED


def test_one_failure_of_the_lane_counts_against_one_item() -> None:
    lane = Retry("the token endpoint failed", counts=True, scope=Scope.LANE, outage=True)
    fair = blame_one([answers.LOST, lane, lane, answers.LOST, lane])
    assert [retry.counts for retry in fair] == [True, True, False, True, False]


# What may be left behind


@pytest.mark.parametrize("outcome", [answers.LOST, answers.SERVER, answers.FORBIDDEN, Superseded(9)])
def test_an_attempt_that_nobody_learned_of_is_remembered(outcome: Outcome) -> None:
    settlement = end(item(memory=replace(BOUND, possible_calendars=(OTHER,))), outcome)
    assert settlement.memory == replace(BOUND, possible_calendars=(OTHER, CALENDAR))


def test_after_a_cancel_the_tombstone_may_be_ours() -> None:
    settlement = end(item(cancel_json(), memory=BOUND), answers.LOST)
    assert settlement.memory == replace(BOUND, possible_calendars=(CALENDAR,), reopen=True)


def test_after_a_recreation_the_tombstone_may_be_ours() -> None:
    claimed = item(memory=BOUND)
    settlement = release_unknown(claimed, replace(prepared(claimed), recreate=True))
    assert settlement.memory == replace(BOUND, possible_calendars=(CALENDAR,), reopen=True)


def test_what_is_remembered_already_is_not_written_again() -> None:
    assert end(item(memory=replace(BOUND, possible_calendars=(CALENDAR,))), answers.LOST).memory is None


def test_a_calendar_that_does_not_exist_holds_nothing() -> None:
    assert end(item(), answers.NO_CALENDAR).memory is None


def test_what_was_sent_is_given_back_with_a_note() -> None:
    claimed = item(attempts=2)
    settlement = release_unknown(claimed, prepared(claimed))
    assert (settlement.status, settlement.attempts, settlement.delay) == ("PENDING", 2, 0)
    assert settlement.memory == SourceState(possible_calendars=(CALENDAR,))


def test_what_was_not_sent_is_given_back_without() -> None:
    settlement = release(item(attempts=2))
    assert (settlement.status, settlement.attempts, settlement.memory) == ("PENDING", 2, None)


# A bug


def test_an_item_whose_handling_fails_has_an_attempt_less_and_a_note_of_what_it_may_have_left() -> None:
    claimed = item(attempts=1)
    settlement = fail_unexpectedly(claimed, prepared(claimed), random=0.0, ceiling=5)
    assert (settlement.status, settlement.attempts, settlement.last_error) == ("FAILED", 2, UNEXPECTED_ERROR)
    assert settlement.delay > 0
    assert settlement.memory == SourceState(possible_calendars=(CALENDAR,))
    assert fail_unexpectedly(claimed, None, random=0.0, ceiling=5).memory is None


@pytest.mark.parametrize(("most", "ceiling"), [(2, 5), (5, 2)])
def test_an_item_whose_handling_always_fails_is_a_dead_letter(most: int, ceiling: int) -> None:
    claimed = item(attempts=1, max_attempts=most)
    settlement = fail_unexpectedly(claimed, prepared(claimed), random=0.0, ceiling=ceiling)
    assert (settlement.status, settlement.failure_code) == ("DEAD_LETTER", FailureCode.EXHAUSTED)
    assert (settlement.attempts, settlement.last_error) == (2, UNEXPECTED_ERROR)
    assert settlement.memory == SourceState(possible_calendars=(CALENDAR,))
