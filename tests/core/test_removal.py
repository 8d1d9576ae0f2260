"""The dialogue that removes an event."""

from dataclasses import replace
from typing import Any

import pytest

from reactor.core.calendar import answers
from reactor.core.calendar.dialogue import Send
from reactor.core.calendar.messages import Method, Response
from reactor.core.calendar.prune import PruneTarget
from reactor.core.outcome import Dead, Done, Retry, Superseded
from tests.core.test_answers import refusal
from tests.core.test_calendar_names import remembered
from tests.core.test_upsert import Script, bound, done
from tests.support.dialogues import CALENDAR, OTHER, WORKSPACE, Google, cancel_json, upsert_json, work

DELETE, GET, LIST = Method.DELETE, Method.GET, Method.LIST


@pytest.fixture
def google() -> Google:
    return Google()


def insert_foreign(google: Google, event_id: str, calendar_id: str = CALENDAR) -> str:
    """An event without our properties: a person's, or an older worker's."""
    body = {"id": event_id, "summary": "old", "start": {"date": "2026-12-01"}, "end": {"date": "2026-12-02"}}
    google.emulator.calendar(calendar_id).insert(body, who=CALENDAR, new_id="", now=google.emulator.clock())
    return event_id


def test_a_bound_event_is_one_delete(google: Google) -> None:
    memory = bound(google)
    outcome = done(google.run(work(cancel_json(), seq=2, **memory)))
    assert google.steps == [DELETE]
    assert outcome == Done(memory["bound_event_id"], CALENDAR, 0, None)
    assert google.titles() == []


def test_what_never_was_is_one_look_and_one_at_its_calendar(google: Google) -> None:
    done(google.run(work(cancel_json())))
    assert google.steps == [GET, LIST]


def test_an_event_whose_insert_was_never_settled_is_found(google: Google) -> None:
    google.run(work(upsert_json()))
    google.asked.clear()
    done(google.run(work(cancel_json(), seq=2)))
    assert google.steps == [GET, DELETE]
    assert google.titles() == []


def test_a_cancel_whose_answer_was_lost_is_repeated_without_harm(google: Google) -> None:
    item = work(cancel_json(), seq=2, **bound(google))
    google.run(item)
    google.asked.clear()
    done(google.run(item))
    assert google.steps == [DELETE, LIST, GET]


@pytest.mark.parametrize(("status", "reason"), [(404, "notFound"), (410, "deleted")])
def test_what_is_gone_already_is_success(google: Google, status: int, reason: str) -> None:
    item = work(cancel_json(), seq=2, **bound(google))
    done(google.run(item, Script(DELETE, refusal(status, reason))))


@pytest.mark.parametrize("first", [DELETE, GET])
def test_an_event_in_a_calendar_that_cannot_be_seen_is_not_taken_for_removed(google: Google, first: Method) -> None:
    memory = bound(google)
    item = work(cancel_json(), seq=2, **(memory if first is DELETE else {}))
    google.emulator.share(CALENDAR, CALENDAR, None)
    assert google.run(item) == answers.NO_CALENDAR
    assert google.steps == [first, LIST]
    google.emulator.share(CALENDAR, CALENDAR, "owner")
    done(google.run(item))
    assert google.titles() == []


@pytest.mark.parametrize("edited", [True, False])
@pytest.mark.parametrize("wanted", [cancel_json(OTHER), upsert_json("moved"), upsert_json("moved", "primary")])
def test_a_calendar_that_is_unshared_in_the_middle_keeps_its_event_for_nobody(
    google: Google, wanted: dict[str, Any], edited: object
) -> None:
    """Whatever was asked before: that an event is not there is believed if its calendar is seen after that was said."""
    for at in range(1, 12):
        google = Google()
        memory = remembered(done(google.run(work(upsert_json("first", OTHER)))))
        if edited:
            google.emulator.edit_by_hand(OTHER, memory["bound_event_id"], {"summary": "edited"})
        item = work(wanted, seq=2, **memory)

        def unshare(_: Send, google: Google = google, at: int = at) -> None:
            if len(google.asked) == at:
                google.emulator.share(OTHER, CALENDAR, None)

        google.asked.clear()
        outcome = google.run(item, unshare)
        google.emulator.share(OTHER, CALENDAR, "owner")
        assert isinstance(outcome, Done | Dead)
        assert google.titles(OTHER) == [] or isinstance(outcome, Dead), (at, google.steps)


def test_one_calendar_that_cannot_be_seen_does_not_keep_a_cancel_from_the_others(google: Google) -> None:
    memory = bound(google)
    google.run(work(upsert_json("stray", OTHER), seq=1))
    google.emulator.share(OTHER, CALENDAR, None)
    item = work(cancel_json(), seq=2, possible_calendars=(OTHER,), **memory)
    assert google.run(item) == answers.LEFT_BEHIND
    assert (google.titles(), google.titles(OTHER)) == ([], ["stray"])
    google.emulator.share(OTHER, CALENDAR, "owner")
    done(google.run(item))
    assert google.titles(OTHER) == []


def test_a_stray_in_a_calendar_that_cannot_be_seen_is_not_taken_for_removed(google: Google) -> None:
    memory = bound(google)
    stray = PruneTarget(WORKSPACE, CALENDAR, memory["bound_event_id"], memory["etag"])
    item = replace(work(cancel_json()), payload=stray)
    google.emulator.share(CALENDAR, CALENDAR, None)
    assert google.run(item) == answers.NO_CALENDAR
    google.emulator.share(CALENDAR, CALENDAR, "owner")
    done(google.run(item))
    assert google.titles() == []


def test_whatever_ends_the_removal_ends_the_cancel(google: Google) -> None:
    item = work(cancel_json(), seq=2, **bound(google))
    assert google.run(item, Script(DELETE, refusal(429, "rateLimitExceeded"))) == answers.RATE


def test_an_event_that_a_person_edited_is_read_and_removed(google: Google) -> None:
    memory = bound(google)
    google.emulator.edit_by_hand(CALENDAR, memory["bound_event_id"], {"summary": "edited"})
    done(google.run(work(cancel_json(), seq=2, **memory)))
    assert google.steps == [DELETE, GET, DELETE]
    assert google.titles() == []


def test_a_newer_state_is_left_alone(google: Google) -> None:
    memory = bound(google)
    google.run(work(upsert_json("newer"), seq=9, **memory))
    assert google.run(work(cancel_json(), seq=8, **memory)) == Superseded(9)
    assert google.titles() == ["newer"]


def test_an_event_that_keeps_changing_is_left_for_later(google: Google) -> None:
    memory = bound(google)

    def edit(ask: Send) -> None:
        if ask.request.api_method is DELETE:
            google.emulator.edit_by_hand(CALENDAR, memory["bound_event_id"], {"summary": "edited"})

    assert google.run(work(cancel_json(), seq=2, **memory), edit) == answers.CHANGING
    assert google.steps.count(DELETE) == 4


def test_a_delete_that_is_answered_with_a_page_is_not_believed(google: Google) -> None:
    item = work(cancel_json(), seq=2, **bound(google))
    assert google.run(item, Script(DELETE, Response(200, {}, b"<html>Welcome</html>"))) == answers.UNREADABLE


def test_the_current_id_is_removed_in_the_payloads_calendar_too(google: Google) -> None:
    memory = bound(google)
    google.run(work(upsert_json("copy", OTHER), seq=1))
    google.asked.clear()
    done(google.run(work(cancel_json(OTHER), seq=2, **memory)))
    assert google.steps == [DELETE, GET, DELETE]
    assert google.titles(CALENDAR) == google.titles(OTHER) == []


def test_a_stray_is_removed_too(google: Google) -> None:
    google.run(work(upsert_json("stray", OTHER), seq=1))
    done(google.run(work(cancel_json(), seq=2, possible_calendars=(OTHER, CALENDAR))))
    assert google.titles(OTHER) == []


def test_a_next_generation_that_was_never_settled_is_removed_too(google: Google) -> None:
    memory = bound(google)
    google.emulator.delete_by_hand(CALENDAR, memory["bound_event_id"])
    google.run(work(upsert_json("unsettled"), seq=2, generation=1))
    google.asked.clear()
    outcome = done(google.run(work(cancel_json(), seq=3, **memory)))
    assert google.steps == [DELETE, LIST, GET, DELETE]
    assert outcome.generation == 1
    assert google.titles() == []


def test_an_event_of_an_older_worker_is_removed_by_the_id_in_the_payload(google: Google) -> None:
    old = insert_foreign(google, "fromgoogle00")
    done(google.run(work(cancel_json(googleEventId=old))))
    assert google.steps == [GET, LIST, GET, DELETE]
    assert google.titles() == []


def test_the_id_in_the_payload_is_not_asked_for_twice(google: Google) -> None:
    memory = bound(google)
    done(google.run(work(cancel_json(googleEventId=memory["bound_event_id"]), seq=2, **memory)))
    assert google.steps == [DELETE]


def test_somebody_elses_event_under_our_id_is_left_alone(google: Google) -> None:
    insert_foreign(google, work(cancel_json()).place(CALENDAR, 0).event_id)
    done(google.run(work(cancel_json())))
    assert google.titles() == ["old"]


def test_another_sources_event_is_left_alone_whatever_the_payload_says(google: Google) -> None:
    memory = bound(google)
    other: Any = work(cancel_json(googleEventId=memory["bound_event_id"]))
    stranger = type(other)(other.workspace_id, "task:another", 9, other.payload)
    done(google.run(stranger))
    assert google.titles() == ["first"]


def test_reading_that_meets_410_goes_on_to_the_next_generation(google: Google) -> None:
    item = work(cancel_json(), seq=2, **bound(google, etag=None))
    done(google.run(item, Script(GET, refusal(410, "deleted"))))
    assert google.steps == [GET, LIST, GET]


def test_a_google_that_makes_no_sense_is_left_after_a_bounded_number_of_requests(google: Google) -> None:
    outcome = google.run(
        work(cancel_json()), lambda ask: refusal(410, "deleted") if ask.request.api_method is GET else None
    )
    assert outcome == answers.CHANGING
    assert len(google.asked) < 40


def test_a_stray_is_removed_in_the_version_that_was_listed() -> None:
    google = Google()
    assert isinstance(google.run(work(upsert_json())), Done)
    [event] = google.emulator.events(CALENDAR)
    stray = replace(work(cancel_json()), payload=PruneTarget(WORKSPACE, CALENDAR, event["id"], event["etag"]))
    google.emulator.edit_by_hand(CALENDAR, event["id"], {"summary": "Mine"})
    assert isinstance(google.run(stray), Done)
    assert google.titles() == ["Mine"], "somebody has written it since"
    [event] = google.emulator.events(CALENDAR)
    stray = replace(stray, payload=PruneTarget(WORKSPACE, CALENDAR, event["id"], event["etag"]))
    assert isinstance(google.run(stray), Done)
    assert google.titles() == []
    assert isinstance(google.run(stray), Done), "it is gone already"


def test_a_page_of_a_proxy_is_no_removal_of_a_stray() -> None:
    stray = replace(work(cancel_json()), payload=PruneTarget(WORKSPACE, CALENDAR, "event1", '"1"'))
    outcome = Google().run(stray, lambda _: Response(200, {}, b"<html>"))
    assert isinstance(outcome, Retry)


def test_a_repair_removes_what_shows_a_newer_state() -> None:
    google = Google()
    google.run(work(upsert_json(), seq=9))
    assert isinstance(google.run(work(cancel_json(), seq=3)), Superseded)
    assert isinstance(google.run(work(cancel_json(), seq=3, repairs=True)), Done)
    assert google.titles() == []
