"""Whatever is answered, a dialogue ends, soon, with an outcome."""

import json
from typing import Any

from hypothesis import given, strategies as st

from reactor.core.calendar import answers
from reactor.core.calendar.dialogue import Dialogue, Send
from reactor.core.calendar.exchange import exchange, inventory
from reactor.core.calendar.messages import NoResponse, RemoteEvent, Reply, Response
from reactor.core.outcome import Dead, Done, Retry, Superseded
from tests.core.test_answers import page, refusal
from tests.support.dialogues import CALENDAR, KEY, OTHER, WORKSPACE, cancel_json, upsert_json, work

REASONS = ["duplicate", "conflict", "notFound", "deleted", "conditionNotMet", "forbidden", "authError", "invalid"]
REFUSALS = st.builds(
    refusal,
    st.sampled_from([400, 401, 403, 404, 409, 410, 412, 418]),
    st.sampled_from(REASONS),
    st.sampled_from(["m", "Invalid sequence value."]),
)
STRANGERS = st.sampled_from([200, 302, 403, 502]).map(page)
NOTHING = st.builds(NoResponse, st.just("lost"), st.booleans())
PRIVATE = st.fixed_dictionaries(
    {},
    optional={
        "reactorWorkspace": st.sampled_from([WORKSPACE, "x"]),
        "reactorSource": st.sampled_from([KEY, "x"]),
        "reactorSeq": st.sampled_from(["1", "5", "9", "x"]),
    },
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "id": st.just("e"),
        "etag": st.sampled_from(['"1"', "x"]),
        "status": st.sampled_from(["confirmed", "cancelled", 1]),
        "sequence": st.integers(-1, 5),
        "extendedProperties": st.fixed_dictionaries({"private": PRIVATE}),
        "items": st.just([]),
        "nextPageToken": st.just("again"),
    },
)
REPLIES = EVENTS | st.just(b"") | REFUSALS | REFUSALS | STRANGERS | NOTHING
MEMORY = st.fixed_dictionaries(
    {
        "seq": st.just(5),
        "generation": st.integers(0, 2),
        "cancelled": st.booleans(),
        "reopen": st.booleans(),
        "recreate": st.booleans(),
        "possible_calendars": st.sampled_from([(), (OTHER,), (CALENDAR, OTHER)]),
    },
    optional={
        "bound_event_id": st.sampled_from(["legacy", ".."]),
        "bound_calendar_id": st.sampled_from([CALENDAR, OTHER]),
        "etag": st.sampled_from(['"1"', "x"]),
    },
)


def reply_to(ask: Send, found: Any) -> Reply:
    """An event answers under the id that was asked for, so that it is not always refused for that."""
    if isinstance(found, bytes):
        return Response(204, {}, found)
    if not isinstance(found, dict):
        reply: Reply = found
        return reply
    event = found | ({"id": ask.request.resource.rsplit("/", 1)[-1]} if "id" in found else {})
    return Response(200, {}, json.dumps(event).encode())


def drive(dialogue: Dialogue[Any], replies: list[Any]) -> Any:
    """Answer in a circle; a dialogue that is not over after 200 questions has no end."""
    try:
        ask = next(dialogue)
        for number in range(200):
            ask = dialogue.send(reply_to(ask, replies[number % len(replies)]))
    except StopIteration as stop:
        return stop.value
    raise AssertionError("no end")


@given(
    st.sampled_from([upsert_json(), cancel_json(), cancel_json(googleEventId="g")]),
    MEMORY,
    st.lists(REPLIES, min_size=1),
)
def test_an_item_ends_with_an_outcome(payload: dict[str, Any], memory: dict[str, Any], replies: list[Any]) -> None:
    outcome = drive(exchange(work(payload, **memory)), replies)
    assert isinstance(outcome, Done | Superseded | Retry | Dead)


@given(st.lists(REPLIES, min_size=1))
def test_a_list_ends_with_events_or_an_outcome(replies: list[Any]) -> None:
    if replies[0] and isinstance(replies[0], dict):
        replies = [*replies, NoResponse("lost")]  # a page that names itself as the next one is another test
    found = drive(inventory(CALENDAR, WORKSPACE), replies)
    assert isinstance(found, list | Retry | Dead)


def test_a_list_that_is_refused_or_cannot_be_read_is_none() -> None:
    assert drive(inventory(CALENDAR, WORKSPACE), [refusal(404, "notFound")]) == answers.NO_CALENDAR
    assert drive(inventory(CALENDAR, WORKSPACE), [{"items": "none"}]) == answers.UNREADABLE


def test_pages_without_end_come_to_an_end() -> None:
    dialogue = inventory(CALENDAR, WORKSPACE)
    next(dialogue)
    endless = Response(200, {}, b'{"items":[],"nextPageToken":"again"}')
    outcome = None
    for _ in range(2_000):
        try:
            dialogue.send(endless)
        except StopIteration as stop:
            outcome = stop.value
            break
    assert outcome == answers.CHANGING


def test_pages_are_put_together_and_what_is_not_ours_is_left_out() -> None:
    dialogue = inventory(CALENDAR, WORKSPACE)
    next(dialogue)

    def listed(event_id: str, workspace_id: str = WORKSPACE, **more: str) -> dict[str, Any]:
        private = {"reactorWorkspace": workspace_id, "reactorSource": KEY, "reactorSeq": "3"}
        return {"id": event_id, "etag": '"1"', "extendedProperties": {"private": private}, **more}

    first = [
        listed("a"),
        listed("b", "another"),
        listed("a_20261201", recurringEventId="a"),
        listed("c", status="cancelled"),
    ]
    ask = dialogue.send(Response(200, {}, json.dumps({"items": first, "nextPageToken": "p 2"}).encode()))
    assert ask.request.target.endswith("pageToken=p+2")
    events = drive_last(dialogue, Response(200, {}, json.dumps({"items": [listed("d")]}).encode()))
    assert [event.event_id for event in events] == ["a", "d"]
    assert events[0] == RemoteEvent("a", '"1"', workspace_id=WORKSPACE, source_key=KEY, seq=3)


def drive_last(dialogue: Dialogue[Any], reply: Reply) -> Any:
    try:
        dialogue.send(reply)
    except StopIteration as stop:
        return stop.value
    raise AssertionError("not over")
