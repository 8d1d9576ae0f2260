"""What people and other applications put into our events stays there, whatever we write."""

import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from reactor.core.calendar import event, foreign_fields
from reactor.core.calendar.messages import Method
from reactor.core.payload import Upsert, parse
from tests.core.test_upsert import bound, done
from tests.support.dialogues import CALENDAR, WORKSPACE, Google, cancel_json, upsert_json, work

UPDATE, DELETE, GET = Method.UPDATE, Method.DELETE, Method.GET
GUEST = {"email": "grace@example.com", "responseStatus": "accepted"}
POPUP = {"useDefault": False, "overrides": [{"method": "popup", "minutes": 7}]}
HANDS: dict[str, dict[str, Any]] = {
    "guests": {"attendees": [GUEST], "guestsCanModify": True},
    "private": {"visibility": "private"},
    "free": {"transparency": "transparent"},
    "colour": {"colorId": "4"},
    "reminders": {"reminders": POPUP},
    "tentative": {"status": "tentative"},
    "another application's": {"extendedProperties": {"private": {"crm": "42"}, "shared": {"room": "7"}}},
    "shared alone": {"extendedProperties": {"shared": {"room": "7"}}},
    "a link": {"source": {"title": "Ticket", "url": "https://example.com/1"}},
    "a call": {"conferenceData": {"conferenceId": "abc", "conferenceSolution": {"key": {"type": "hangoutsMeet"}}}},
    "a file": {"attachments": [{"fileUrl": "https://example.com/file"}]},
}
"""What other hands do."""
FULL: dict[str, Any] = {
    "description": "Why",
    "location": "Room 1",
    "recurrence": ["RRULE:FREQ=DAILY;COUNT=3"],
    "colorId": "5",
    "reminders": {"overrides": [{"method": "email", "minutes": 60}]},
}
"""All that the application may give beside title and times."""


@pytest.fixture
def google() -> Google:
    return Google()


def written_by_hand(google: Google, event_id: str, changes: dict[str, Any]) -> None:
    google.emulator.edit_by_hand(CALENDAR, event_id, changes)


@pytest.mark.parametrize("settled", [True, False])
@pytest.mark.parametrize("wanted", [upsert_json("edited"), cancel_json()])
def test_an_event_whose_marks_another_program_took_away_stays_ours(
    google: Google, wanted: dict[str, Any], settled: object
) -> None:
    """Where it is remembered, or an attempt was: it is neither made a second time nor left where it is to go."""
    memory = bound(google)
    written_by_hand(google, memory["bound_event_id"], {"extendedProperties": None})
    outcome = done(google.run(work(wanted, seq=2, **(memory if settled else {"possible_calendars": (CALENDAR,)}))))
    assert google.titles() == (["edited"] if "event" in wanted else [])
    if "event" in wanted:
        done(google.run(work(upsert_json("again"), seq=3, **memory | {"etag": outcome.etag})))
        assert shown(google)["extendedProperties"]["private"]["reactorSeq"] == "3"


def shown(google: Google) -> dict[str, Any]:
    [found] = google.emulator.events(CALENDAR)
    return found


def holds(found: Any, wanted: Any) -> bool:
    """Whether all of a part of an event is there."""
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(holds(found.get(name), value) for name, value in wanted.items())
    return bool(found == wanted)


@pytest.mark.parametrize("name", HANDS)
@pytest.mark.parametrize("given", [{}, {"description": "Why", "location": "Room 1"}])
def test_what_other_hands_did_stays_over_all_later_edits(google: Google, name: str, given: dict[str, Any]) -> None:
    memory = bound(google)
    written_by_hand(google, memory["bound_event_id"], HANDS[name])
    for number in (2, 3):
        google.asked.clear()
        times = {"start": f"2026-12-0{number}T09:00:00Z", "end": f"2026-12-0{number}T10:00:00Z"}
        memory["etag"] = done(google.run(work(upsert_json("edited", **times, **given), seq=number, **memory))).etag
        found = shown(google)
        assert holds(found, HANDS[name]), found
        assert (found["summary"], found["start"]["dateTime"]) == ("edited", times["start"])
        assert holds(found, given)
        assert found["extendedProperties"]["private"]["reactorSeq"] == str(number)
        assert google.steps == ([UPDATE, GET, UPDATE] if number == 2 else [GET, UPDATE])
        assert all("sendUpdates=none" in ask.request.target for ask in google.asked if ask.request.api_method is UPDATE)


def test_what_the_contract_names_is_ours_also_beside_guests(google: Google) -> None:
    memory = bound(google)
    edited: dict[str, Any] = {"summary": "Mine", "description": "x", "location": "y", "attendees": [GUEST]}
    edited["recurrence"] = ["RRULE:FREQ=DAILY"]
    edited["start"] = {"dateTime": "2026-12-05T09:00:00Z", "timeZone": "UTC"}
    edited["end"] = {"dateTime": "2026-12-05T10:00:00Z", "timeZone": "UTC"}
    written_by_hand(google, memory["bound_event_id"], edited)
    done(google.run(work(upsert_json("Ours", isAllDay=True, start="2026-12-01", end="2026-12-02"), seq=2, **memory)))
    found = shown(google)
    assert (found["summary"], found["start"], found["end"]) == ("Ours", {"date": "2026-12-01"}, {"date": "2026-12-02"})
    assert not found.keys() & {"description", "location", "recurrence"}
    assert found["attendees"] == [GUEST]


def test_a_colour_and_reminders_that_the_application_takes_back_go(google: Google) -> None:
    outcome = done(google.run(work(upsert_json("first", colorId="5", reminders=FULL["reminders"]))))
    memory = {"bound_event_id": outcome.event_id, "bound_calendar_id": CALENDAR, "etag": outcome.etag}
    written_by_hand(google, outcome.event_id, {"attendees": [GUEST]})
    done(google.run(work(upsert_json("second"), seq=2, **memory)))
    found = shown(google)
    assert "colorId" not in found
    assert found["reminders"] == {"useDefault": True}
    assert "reactorGiven" not in found["extendedProperties"]["private"]
    assert found["attendees"] == [GUEST]


def test_the_calendars_own_reminders_take_the_place_of_a_persons(google: Google) -> None:
    memory = bound(google)
    written_by_hand(google, memory["bound_event_id"], {"reminders": POPUP, "attendees": [GUEST]})
    done(google.run(work(upsert_json("second", reminders={"useDefault": True}), seq=2, **memory)))
    assert shown(google)["reminders"] == {"useDefault": True}


def test_where_a_person_changed_only_what_is_ours_the_next_edits_are_plain(google: Google) -> None:
    memory = bound(google)
    written_by_hand(google, memory["bound_event_id"], {"summary": "Mine"})
    outcome = done(google.run(work(upsert_json("second"), seq=2, **memory)))
    google.asked.clear()
    done(google.run(work(upsert_json("third"), seq=3, **(memory | {"etag": outcome.etag}))))
    assert google.steps == [UPDATE]
    assert google.asked[0].request.http_method == "PUT"


def test_an_event_with_guests_is_removed_in_the_version_that_was_read(google: Google) -> None:
    memory = bound(google)
    written_by_hand(google, memory["bound_event_id"], {"attendees": [GUEST]})
    outcome = done(google.run(work(upsert_json("second"), seq=2, **memory)))
    google.asked.clear()
    done(google.run(work(cancel_json(), seq=3, **(memory | {"etag": outcome.etag}))))
    assert google.steps == [GET, DELETE]


def test_what_was_removed_and_comes_back_begins_anew(google: Google) -> None:
    memory = bound(google)
    written_by_hand(google, memory["bound_event_id"], {"attendees": [GUEST]})
    google.emulator.delete_by_hand(CALENDAR, memory["bound_event_id"])
    outcome = done(google.run(work(upsert_json("back"), seq=2, reopen=True, **memory)))
    assert "attendees" not in shown(google)
    assert outcome.etag is not None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["private", "shared", "reactorGiven", "colorId", "x"]), inner, max_size=3)
    ),
    max_leaves=5,
)
FIELDS = st.sampled_from(["extendedProperties", "reminders", "colorId", "status", "attendees", "start", "new"])


@settings(max_examples=100)
@given(st.dictionaries(FIELDS, JSON, max_size=5), st.sets(st.sampled_from(sorted(FULL))))
def test_whatever_an_event_holds_only_ours_is_changed(resource: dict[str, Any], given_: set[str]) -> None:
    payload = parse("UPSERT_EVENT", WORKSPACE, upsert_json(**{name: FULL[name] for name in given_}))
    assert isinstance(payload, Upsert)
    body = event.body(payload.event, {event.SEQ: "1"})
    foreign_fields.put_more_into(resource, body)
    changed = foreign_fields.changes(resource, body)
    json.dumps(changed)
    assert changed.keys() <= {*FULL, "summary", "start", "end", "extendedProperties"}
    assert changed.keys() >= body.keys()
    assert changed["extendedProperties"].keys() == {"private"}
    assert changed["extendedProperties"]["private"].keys() <= event.OUR_PROPERTIES
