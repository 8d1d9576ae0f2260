"""The dialogue that writes an event: its requests in their order, and what the calendar holds afterwards."""

import json
from typing import Any

import pytest

from reactor.core.calendar import answers, event
from reactor.core.calendar.dialogue import Send
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.messages import EventRef, Method, NoResponse, Reply, Response
from reactor.core.calendar.upsert import UNSEEN
from reactor.core.outcome import Dead, Done, FailureCode, Outcome, Retry, Superseded
from tests.core.test_answers import refusal
from tests.support.dialogues import CALENDAR, KEY, OTHER, WORKSPACE, Google, upsert_json, work

INSERT, UPDATE, REVIVE, DELETE, GET, LIST = (
    Method.INSERT,
    Method.UPDATE,
    Method.REVIVE,
    Method.DELETE,
    Method.GET,
    Method.LIST,
)


@pytest.fixture
def google() -> Google:
    return Google()


def bound(google: Google, **memory: Any) -> dict[str, Any]:
    """What is remembered of an event that was written; also writes it."""
    outcome = done(google.run(work(upsert_json("first"), seq=1)))
    google.asked.clear()
    remembered = {
        "bound_event_id": outcome.event_id,
        "bound_calendar_id": outcome.calendar_id,
        "etag": outcome.etag,
        "generation": outcome.generation,
    }
    return remembered | memory


def done(outcome: Outcome) -> Done:
    assert isinstance(outcome, Done), outcome
    return outcome


def dead(outcome: Outcome) -> FailureCode:
    assert isinstance(outcome, Dead), outcome
    return outcome.code


class Script:
    """Answers of one's own for the first requests of a step; None lets one through."""

    def __init__(self, step: Method, *replies: Reply | None) -> None:
        self._step = step
        self._replies = list(replies)

    def __call__(self, ask: Send) -> Reply | None:
        return self._replies.pop(0) if ask.request.api_method is self._step and self._replies else None


# The normal case


def test_a_new_event_is_one_insert(google: Google) -> None:
    outcome = done(google.run(work(upsert_json("Gate"), seq=7)))
    assert google.steps == [INSERT]
    found = google.emulator.event(CALENDAR, outcome.event_id)
    assert found is not None
    assert (found["summary"], found["etag"]) == ("Gate", outcome.etag)
    assert found["extendedProperties"]["private"] == event.properties(
        workspace_id=WORKSPACE, source_key=KEY, seq=7, generation=0
    )


def test_an_event_that_we_know_is_one_update(google: Google) -> None:
    memory = bound(google)
    outcome = done(google.run(work(upsert_json("second"), seq=2, **memory)))
    assert google.steps == [UPDATE]
    assert google.titles() == ["second"]
    assert outcome.event_id == memory["bound_event_id"]
    assert outcome.etag != memory["etag"]


def test_an_event_whose_version_is_not_known_is_read_first(google: Google) -> None:
    done(google.run(work(upsert_json("second"), seq=2, **bound(google, etag=None))))
    assert google.steps == [GET, UPDATE]


def test_an_etag_that_could_not_be_a_header_is_not_known(google: Google) -> None:
    done(google.run(work(upsert_json("second"), seq=2, **bound(google, etag='"x"\r\nA: b'))))
    assert google.steps == [GET, UPDATE]


def test_an_event_of_an_older_worker_is_adopted(google: Google) -> None:
    emulator = google.emulator
    old = emulator.calendar(CALENDAR).insert(
        {"summary": "old", "start": {"date": "2026-12-01"}, "end": {"date": "2026-12-02"}},
        who=CALENDAR,
        new_id="fromgoogle00",
        now=emulator.clock(),
    )
    item = work(upsert_json("new"), bound_event_id=old["id"], bound_calendar_id=CALENDAR)
    assert done(google.run(item)).event_id == "fromgoogle00"
    assert google.steps == [GET, UPDATE]
    assert google.titles() == ["new"]


# Lost answers, taken ids


def test_an_insert_whose_answer_was_lost_is_met_again(google: Google) -> None:
    done(google.run(work(upsert_json("lost"))))
    google.asked.clear()
    done(google.run(work(upsert_json("again"))))
    assert google.steps == [INSERT, GET, UPDATE]
    assert google.titles() == ["again"]


def test_a_lost_answer_is_a_retry_under_the_same_id(google: Google) -> None:
    outcome = google.run(work(upsert_json()), Script(INSERT, NoResponse("timeout")))
    assert outcome == answers.LOST
    assert google.steps == [INSERT]


def test_an_id_that_somebody_else_has_is_left_alone(google: Google) -> None:
    taken = work(upsert_json()).place(CALENDAR, 0)
    foreign = {
        "summary": "theirs",
        "start": {"date": "2026-12-01"},
        "end": {"date": "2026-12-02"},
        "id": taken.event_id,
    }
    google.emulator.calendar(CALENDAR).insert(foreign, who=CALENDAR, new_id="", now=google.emulator.clock())
    outcome = done(google.run(work(upsert_json("ours"))))
    assert google.steps == [INSERT, GET, INSERT]
    assert outcome.generation == 1
    assert sorted(google.titles()) == ["ours", "theirs"]


def test_a_taken_id_that_cannot_be_read_is_asked_for_again_before_it_is_given_up(google: Google) -> None:
    missing = refusal(404, "notFound")
    google.run(work(upsert_json("first")))
    google.asked.clear()
    outcome = google.run(work(upsert_json(), reopen=True), Script(GET, missing, missing, missing))
    assert google.steps == [INSERT, GET, GET, LIST, GET, LIST, INSERT]
    assert [ask.pause > 0 for ask in google.asked] == [False, False, True, *[False] * 4]
    assert done(outcome).generation == 1


def test_a_taken_id_that_only_looks_missing_is_found(google: Google) -> None:
    google.run(work(upsert_json("first")))
    google.asked.clear()
    google.run(work(upsert_json("second")), Script(GET, refusal(404, "notFound")))
    assert google.steps == [INSERT, GET, GET, UPDATE]
    assert google.titles() == ["second"]


# Tombstones


def test_what_we_cancelled_is_revived_in_place(google: Google) -> None:
    memory = bound(google)
    google.emulator.delete_by_hand(CALENDAR, memory["bound_event_id"])
    outcome = done(google.run(work(upsert_json("back"), seq=2, cancelled=True)))
    assert google.steps == [GET, GET, REVIVE]
    assert (outcome.event_id, outcome.generation) == (memory["bound_event_id"], 0)
    assert google.titles() == ["back"]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_what_cannot_be_revived_gets_its_next_id(google: Google, status: int) -> None:
    memory = bound(google)
    google.emulator.delete_by_hand(CALENDAR, memory["bound_event_id"])
    google.emulator.purge(CALENDAR, memory["bound_event_id"], status=status)
    outcome = done(google.run(work(upsert_json("back"), seq=2, cancelled=True)))
    assert google.steps == [GET, GET, REVIVE, INSERT]
    assert outcome.generation == 1
    assert google.titles() == ["back"]


def test_a_tombstone_without_a_version_gets_its_next_id(google: Google) -> None:
    memory = bound(google)
    bare = Response(200, {}, json.dumps({"id": memory["bound_event_id"], "status": "cancelled"}).encode())
    outcome = done(google.run(work(upsert_json(), seq=2, cancelled=True), Script(GET, bare)))
    assert google.steps == [GET, GET, INSERT]
    assert outcome.generation == 1


def test_a_next_generation_that_was_never_settled_is_found_before_the_older_one_is_revived(google: Google) -> None:
    memory = bound(google)
    google.emulator.delete_by_hand(CALENDAR, memory["bound_event_id"])
    google.run(work(upsert_json("unsettled"), seq=2, generation=1))
    google.asked.clear()
    outcome = done(google.run(work(upsert_json("last"), seq=3, cancelled=True)))
    assert google.steps == [GET, GET, UPDATE]
    assert outcome.generation == 1
    assert google.titles() == ["last"]


def test_what_was_cancelled_and_never_existed_is_inserted(google: Google) -> None:
    google.run(work(upsert_json("new"), cancelled=True))
    assert google.steps == [GET, INSERT]
    assert google.titles() == ["new"]


def test_what_a_person_deleted_stays_deleted(google: Google) -> None:
    memory = bound(google)
    google.emulator.delete_by_hand(CALENDAR, memory["bound_event_id"])
    outcome = google.run(work(upsert_json("second"), seq=2, **memory))
    assert dead(outcome) is FailureCode.EVENT_GONE
    assert google.titles() == []


def test_what_a_person_deleted_after_a_lost_answer_stays_deleted(google: Google) -> None:
    memory = bound(google)
    google.emulator.delete_by_hand(CALENDAR, memory["bound_event_id"])
    assert dead(google.run(work(upsert_json("second"), seq=2))) is FailureCode.EVENT_GONE
    assert google.steps == [INSERT, GET]


def test_a_rebuild_brings_back_what_a_person_deleted(google: Google) -> None:
    memory = bound(google)
    google.emulator.delete_by_hand(CALENDAR, memory["bound_event_id"])
    done(google.run(work(upsert_json("second"), seq=2, reopen=True, **memory)))
    assert google.titles() == ["second"]


def test_an_update_that_meets_410_is_looked_into(google: Google) -> None:
    memory = bound(google)
    deleted = refusal(410, "deleted")
    item = work(upsert_json("second"), seq=2, **memory)
    google.emulator.delete_by_hand(CALENDAR, memory["bound_event_id"])
    assert dead(google.run(item, Script(UPDATE, deleted))) is FailureCode.EVENT_GONE


def test_an_event_whose_reading_meets_410_is_gone(google: Google) -> None:
    memory = bound(google, etag=None)
    item = work(upsert_json("second"), seq=2, **memory)
    assert dead(google.run(item, Script(GET, refusal(410, "deleted")))) is FailureCode.EVENT_GONE
    assert google.steps == [GET, LIST]
    google.emulator.share(CALENDAR, CALENDAR, None)
    assert google.run(item, Script(GET, refusal(410, "deleted"))) == answers.NO_CALENDAR


# Missing events and calendars


def test_a_bound_event_that_does_not_exist_is_asked_for_once_more_and_then_gone(google: Google) -> None:
    item = work(upsert_json(), bound_event_id="never00", bound_calendar_id=CALENDAR, etag='"1"')
    assert dead(google.run(item)) is FailureCode.EVENT_GONE
    assert google.steps == [UPDATE, GET, LIST, GET, LIST]
    assert [ask.pause > 0 for ask in google.asked] == [False, True, False, False, False]


def test_a_bound_event_that_is_found_a_little_later_is_updated(google: Google) -> None:
    memory = bound(google)
    google.run(work(upsert_json("second"), seq=2, **memory), Script(UPDATE, refusal(404, "notFound")))
    assert google.steps == [UPDATE, GET, UPDATE]
    assert google.titles() == ["second"]


def test_a_rebuild_makes_a_bound_event_that_does_not_exist(google: Google) -> None:
    item = work(upsert_json("new"), bound_event_id="never00", bound_calendar_id=CALENDAR, etag='"1"', reopen=True)
    assert done(google.run(item)).generation == 0
    assert google.steps == [UPDATE, GET, LIST, GET, INSERT]


def test_an_event_that_is_not_there_any_more_is_not_made_beside_its_next_generation(google: Google) -> None:
    """A calendar was emptied; a recreate went on to the next id and was never settled; then an edit comes."""
    before = done(google.run(work(upsert_json("before"))))
    google.emulator.remove_calendar(OTHER)
    google.emulator.add_calendar(OTHER).roles[CALENDAR] = "owner"
    memory = {"bound_event_id": before.event_id, "bound_calendar_id": OTHER, "etag": before.etag, "reopen": True}
    google.run(work(upsert_json("made anew", OTHER), seq=2, recreate=True, **memory))
    assert done(google.run(work(upsert_json("edited", OTHER), seq=3, **memory))).generation == 1
    assert google.titles(OTHER) == ["edited"]


def test_a_bound_event_in_a_calendar_that_is_gone_is_the_calendars_fault(google: Google) -> None:
    memory = bound(google)
    google.emulator.remove_calendar(CALENDAR)
    outcome = google.run(work(upsert_json(), seq=2, **memory))
    assert outcome == answers.NO_CALENDAR
    assert google.steps == [UPDATE, GET, LIST]


def test_an_insert_into_a_calendar_that_is_gone_is_the_calendars_fault(google: Google) -> None:
    assert google.run(work(upsert_json(calendar_id="nobody@example.com"))) == answers.NO_CALENDAR


# Other versions


def test_an_event_that_a_person_edited_is_read_and_written_over(google: Google) -> None:
    memory = bound(google)
    google.emulator.edit_by_hand(CALENDAR, memory["bound_event_id"], {"summary": "edited"})
    done(google.run(work(upsert_json("second"), seq=2, **memory)))
    assert google.steps == [UPDATE, GET, UPDATE]
    assert google.titles() == ["second"]


def test_an_event_that_keeps_changing_is_left_for_later(google: Google) -> None:
    memory = bound(google)

    def edit(ask: Send) -> None:
        if ask.request.api_method is UPDATE:
            google.emulator.edit_by_hand(CALENDAR, memory["bound_event_id"], {"summary": "edited"})

    assert google.run(work(upsert_json("second"), seq=2, **memory), edit) == answers.CHANGING
    assert google.steps.count(UPDATE) == 4


def test_a_newer_state_in_the_calendar_is_left_alone(google: Google) -> None:
    memory = bound(google)
    google.run(work(upsert_json("newer"), seq=9, **memory))
    assert google.run(work(upsert_json("older"), seq=8, **memory)) == Superseded(9)
    assert google.run(work(upsert_json("older"), seq=8)) == Superseded(9)
    assert google.titles() == ["newer"]


def test_a_place_that_no_state_of_ours_can_have_is_written_over(google: Google) -> None:
    """Whoever has the event may write its properties."""
    memory = bound(google)
    google.run(work(upsert_json("by hand"), seq=2**63 - 1, **memory))
    done(google.run(work(upsert_json("ours"), seq=8, **memory)))
    assert google.titles() == ["ours"]
    google.run(work(upsert_json("as high as it gets"), seq=2**53, **memory))
    assert google.run(work(upsert_json("older"), seq=9, **memory)) == Superseded(2**53)


def test_the_same_state_is_written_again(google: Google) -> None:
    """A rebuild reads the current state anew and carries the `seq` that the calendar shows already."""
    memory = bound(google, etag=None)
    done(google.run(work(upsert_json("same seq"), seq=1, **memory)))
    assert google.titles() == ["same seq"]


def test_a_sequence_that_google_insists_on_is_sent(google: Google) -> None:
    memory = bound(google)
    insists = refusal(400, "invalid", "Invalid sequence value.")
    google.run(work(upsert_json("second"), seq=2, **memory), Script(UPDATE, insists))
    assert google.steps == [UPDATE, GET, UPDATE]
    assert ["sequence" in json.loads(ask.request.body) for ask in google.asked if ask.request.body] == [False, True]
    assert google.titles() == ["second"]


def test_a_sequence_that_is_refused_twice_is_a_bad_request(google: Google) -> None:
    memory = bound(google)
    insists = refusal(400, "invalid", "Invalid sequence value.")
    outcome = google.run(work(upsert_json("second"), seq=2, **memory), Script(UPDATE, insists, insists))
    assert outcome == answers.BAD_REQUEST


def test_a_revival_that_is_overtaken_looks_again(google: Google) -> None:
    memory = bound(google)
    google.emulator.delete_by_hand(CALENDAR, memory["bound_event_id"])
    google.run(work(upsert_json("back"), seq=2, cancelled=True), Script(REVIVE, refusal(412, "conditionNotMet")))
    assert google.steps == [GET, GET, REVIVE, GET, GET, REVIVE]
    assert google.titles() == ["back"]


# Tokens and conflicts


def test_the_first_401_asks_for_a_fresh_token(google: Google) -> None:
    done(google.run(work(upsert_json()), Script(INSERT, refusal(401, "authError"))))
    assert [ask.renew for ask in google.asked] == [False, True]


def test_the_second_401_is_final(google: Google) -> None:
    refused = refusal(401, "authError")
    assert google.run(work(upsert_json()), Script(INSERT, refused, refused)) == answers.REVOKED


def test_the_first_conflict_asks_to_be_sent_alone(google: Google) -> None:
    done(google.run(work(upsert_json()), Script(INSERT, refusal(409, "conflict"))))
    assert [ask.alone for ask in google.asked] == [False, True]


def test_the_second_conflict_is_for_later(google: Google) -> None:
    conflict = refusal(409, "conflict")
    assert google.run(work(upsert_json()), Script(INSERT, conflict, conflict)) == answers.CONFLICTING


def test_a_conflict_and_a_401_do_not_forget_each_other(google: Google) -> None:
    conflict, refused = refusal(409, "conflict"), refusal(401, "authError")
    done(google.run(work(upsert_json()), Script(INSERT, conflict, refused)))
    assert [(ask.alone, ask.renew) for ask in google.asked] == [(False, False), (True, False), (True, True)]
    assert google.run(work(upsert_json()), Script(INSERT, refused, conflict, refused)) == answers.REVOKED


# Answers that cannot be read


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"id":"x","etag":"\\"1\\""}', b"<html>", b'{"id":1}'])
def test_success_that_cannot_be_read_is_found_out_again(google: Google, body: bytes) -> None:
    assert google.run(work(upsert_json()), Script(INSERT, Response(200, {}, body))) == answers.UNREADABLE
    memory = bound(google, etag=None)
    item = work(upsert_json(), seq=2, **memory)
    assert google.run(item, Script(GET, Response(200, {}, body))) == answers.UNREADABLE


def test_a_google_that_makes_no_sense_is_left_after_a_bounded_number_of_requests(google: Google) -> None:
    def senseless(ask: Send) -> Reply | None:
        if ask.request.api_method is INSERT:
            return refusal(409, "duplicate")
        event_id = ask.request.resource.rsplit("/", 1)[-1]
        return Response(200, {}, json.dumps({"id": event_id, "etag": '"1"'}).encode())

    assert google.run(work(upsert_json()), senseless) == answers.CHANGING
    assert len(google.asked) < 40


# Moves, recreation, strays


def moved(google: Google, **memory: Any) -> SyncIntent:
    return work(upsert_json("moved", OTHER), seq=2, **bound(google, **memory))


def test_a_move_writes_the_new_event_before_it_removes_the_old_one(google: Google) -> None:
    outcome = done(google.run(moved(google)))
    assert google.steps == [INSERT, DELETE]
    assert outcome.calendar_id == OTHER
    assert (google.titles(CALENDAR), google.titles(OTHER)) == ([], ["moved"])


def test_a_move_that_broke_off_goes_on(google: Google) -> None:
    item = moved(google)
    google.run(item, Script(DELETE, NoResponse("timeout")))
    assert (google.titles(CALENDAR), google.titles(OTHER)) == (["first"], ["moved"])
    google.asked.clear()
    done(google.run(item))
    assert google.steps == [INSERT, GET, UPDATE, DELETE]
    assert (google.titles(CALENDAR), google.titles(OTHER)) == ([], ["moved"])


def test_a_move_out_of_a_calendar_that_cannot_be_seen_is_written_and_said(google: Google) -> None:
    item = moved(google)
    google.emulator.share(CALENDAR, CALENDAR, None)
    outcome = google.run(item)
    assert outcome == answers.LEFT_BEHIND
    assert isinstance(outcome, Dead)
    assert google.steps == [INSERT, DELETE, LIST]
    assert (google.titles(CALENDAR), google.titles(OTHER)) == (["first"], ["moved"])
    written = outcome.written
    assert written is not None
    assert (written.calendar_id, written.possible_calendars) == (OTHER, (CALENDAR,))
    google.asked.clear()
    memory = {"bound_event_id": written.event_id, "bound_calendar_id": OTHER, "etag": written.etag}
    later = done(
        google.run(work(upsert_json("later", OTHER), seq=3, possible_calendars=written.possible_calendars, **memory))
    )
    assert google.steps == [UPDATE, GET, LIST]
    assert (later.possible_calendars, later.note) == ((CALENDAR,), UNSEEN), "what was written does not wait for it"
    google.emulator.share(CALENDAR, CALENDAR, "owner")
    memory["etag"] = later.etag
    last = done(
        google.run(work(upsert_json("last", OTHER), seq=4, possible_calendars=later.possible_calendars, **memory))
    )
    assert (last.possible_calendars, last.note, google.titles(CALENDAR)) == ((), "", [])


def test_an_event_with_an_id_of_googles_is_not_forgotten_in_a_calendar_that_cannot_be_seen(google: Google) -> None:
    memory: dict[str, Any] = {"bound_event_id": "fromgoogle00", "bound_calendar_id": OTHER}
    body = {"id": "fromgoogle00", "start": {"date": "2026-12-01"}, "end": {"date": "2026-12-02"}, "summary": "old"}
    google.emulator.calendar(OTHER).insert(body, who=CALENDAR, new_id="", now=0)
    google.emulator.share(OTHER, CALENDAR, None)
    item = work(upsert_json("moved"), **memory)
    outcome = google.run(item)
    assert outcome == answers.LEFT_BEHIND
    assert isinstance(outcome, Dead)
    assert outcome.written is None, "only the binding knows its id"
    google.emulator.share(OTHER, CALENDAR, "owner")
    done(google.run(item))
    assert (google.titles(), google.titles(OTHER)) == (["moved"], [])


def test_another_generation_in_another_calendar_is_a_leftover(google: Google) -> None:
    memory = bound(google)
    google.run(work(upsert_json("stray", OTHER)))
    google.emulator.delete_by_hand(CALENDAR, memory["bound_event_id"])
    google.emulator.purge(CALENDAR, memory["bound_event_id"])
    outcome = done(google.run(work(upsert_json("anew"), seq=2, reopen=True, possible_calendars=(OTHER,), **memory)))
    assert outcome.generation == 1
    assert (google.titles(), google.titles(OTHER)) == (["anew"], [])


def test_a_move_back_revives_what_the_first_move_removed(google: Google) -> None:
    first = done(google.run(moved(google)))
    google.asked.clear()
    item = work(
        upsert_json("home"),
        seq=3,
        bound_event_id=first.event_id,
        bound_calendar_id=OTHER,
        etag=first.etag,
        generation=0,
    )
    done(google.run(item))
    assert google.steps == [INSERT, GET, GET, REVIVE, DELETE]
    assert (google.titles(CALENDAR), google.titles(OTHER)) == (["home"], [])


def test_a_move_that_comes_too_late_takes_its_copy_back(google: Google) -> None:
    item = moved(google)
    assert item.bound is not None
    newer = work(
        upsert_json("newer"), seq=3, bound_event_id=item.bound_event_id, bound_calendar_id=CALENDAR, etag=item.etag
    )
    google.run(newer)
    assert google.run(item) == Superseded(3)
    assert (google.titles(CALENDAR), google.titles(OTHER)) == (["newer"], [])


def test_a_move_out_of_a_calendar_that_we_may_not_write_fails_openly(google: Google) -> None:
    outcome = google.run(moved(google), Script(DELETE, refusal(403, "requiredAccessLevel")))
    assert outcome == answers.READ_ONLY


def test_recreating_removes_the_event_and_makes_its_next_generation(google: Google) -> None:
    outcome = done(google.run(work(upsert_json("anew"), seq=1, recreate=True, **bound(google))))
    assert google.steps == [DELETE, INSERT]
    assert outcome.generation == 1
    assert google.titles() == ["anew"]


def test_recreating_that_broke_off_makes_the_event_once(google: Google) -> None:
    item = work(upsert_json("anew"), seq=1, recreate=True, **bound(google))
    google.run(item, Script(INSERT, NoResponse("timeout")))
    done(google.run(item))
    assert google.titles() == ["anew"]


def test_recreating_what_is_not_there_is_an_insert(google: Google) -> None:
    assert done(google.run(work(upsert_json("new"), recreate=True))).generation == 0
    assert google.steps == [INSERT]


def test_what_an_unsettled_attempt_left_in_another_calendar_is_removed(google: Google) -> None:
    google.run(work(upsert_json("stray", OTHER), seq=1))
    google.asked.clear()
    done(google.run(work(upsert_json("here"), seq=2, possible_calendars=(OTHER, CALENDAR))))
    assert google.steps == [INSERT, GET, DELETE]
    assert (google.titles(CALENDAR), google.titles(OTHER)) == (["here"], [])


def test_a_binding_that_names_somebody_elses_event_is_not_followed(google: Google) -> None:
    foreign = {
        "summary": "theirs",
        "start": {"date": "2026-12-01"},
        "end": {"date": "2026-12-02"},
        "extendedProperties": {"private": {event.WORKSPACE: WORKSPACE, event.SOURCE: "task:another"}},
    }
    made = google.emulator.calendar(CALENDAR).insert(foreign, who=CALENDAR, new_id="theirs0", now=0)
    outcome = done(google.run(work(upsert_json("ours"), bound_event_id=made["id"], bound_calendar_id=CALENDAR)))
    assert outcome.generation == 0
    assert sorted(google.titles()) == ["ours", "theirs"]


def test_nothing_of_the_work_that_is_private_is_in_its_repr() -> None:
    item = work(
        upsert_json("Private title"), bound_event_id="e", bound_calendar_id=CALENDAR, possible_calendars=(OTHER,)
    )
    for value in (item, EventRef(CALENDAR, "e"), Done("e", CALENDAR, 0)):
        assert CALENDAR not in repr(value)
        assert "Private" not in repr(value)


def test_a_retry_ends_the_dialogue_wherever_it_is(google: Google) -> None:
    memory = bound(google)
    google.emulator.edit_by_hand(CALENDAR, memory["bound_event_id"], {"summary": "edited"})
    outcome = google.run(work(upsert_json("second"), seq=2, **memory), Script(GET, refusal(429, "rateLimitExceeded")))
    assert isinstance(outcome, Retry)
    assert google.titles() == ["edited"]


def test_a_calendar_that_gets_its_other_name_keeps_the_event() -> None:
    """`primary` and the address are one calendar: what looks like the old copy is the event itself."""
    google = Google()
    first = google.run(work(upsert_json("old", "primary")))
    assert isinstance(first, Done)
    memory = {"bound_event_id": first.event_id, "bound_calendar_id": "primary", "etag": first.etag}
    second = google.run(work(upsert_json("new", CALENDAR), seq=2, **memory))
    assert isinstance(second, Done)
    assert (second.calendar_id, google.titles()) == (CALENDAR, ["new"])


def test_a_move_that_broke_off_after_it_had_written_removes_the_old_copy() -> None:
    google = Google()
    first = google.run(work(upsert_json("old", OTHER)))
    google.run(work(upsert_json("new", CALENDAR), seq=2))
    assert isinstance(first, Done)
    memory = {"bound_event_id": first.event_id, "bound_calendar_id": OTHER, "etag": first.etag}
    assert isinstance(google.run(work(upsert_json("new", CALENDAR), seq=2, **memory)), Done)
    assert (google.titles(), google.titles(OTHER)) == (["new"], [])
