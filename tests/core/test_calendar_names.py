"""One calendar under two names, and one name for the calendars of two accounts: `primary`."""

from typing import Any

import pytest

from reactor.core.calendar.answers import RATE
from reactor.core.calendar.dialogue import Send
from reactor.core.calendar.messages import Method, Response
from reactor.core.calendar.upsert import ANOTHER_ACCOUNT
from reactor.core.outcome import Dead, Done, FailureCode
from tests.core.test_answers import refusal
from tests.core.test_upsert import Script, dead, done
from tests.support.dialogues import CALENDAR, OTHER, Google, cancel_json, upsert_json, work

INSERT, UPDATE, DELETE, GET, LIST = Method.INSERT, Method.UPDATE, Method.DELETE, Method.GET, Method.LIST
NAMES = [("primary", CALENDAR), (CALENDAR, "primary")]
BOB = "bob@example.com"


@pytest.fixture
def google() -> Google:
    return Google()


def remembered(outcome: Done, **more: Any) -> dict[str, Any]:
    memory = {
        "bound_event_id": outcome.event_id,
        "bound_calendar_id": outcome.calendar_id,
        "etag": outcome.etag,
        "generation": outcome.generation,
    }
    return memory | more


def written(google: Google, name: str, title: str = "first", **more: Any) -> dict[str, Any]:
    """What is remembered of an event that was written under a name of its calendar."""
    outcome = done(google.run(work(upsert_json(title, name))))
    google.asked.clear()
    return remembered(outcome, **more)


def test_what_primary_stands_for_is_remembered(google: Google) -> None:
    assert written(google, "primary")["bound_calendar_id"] == CALENDAR
    assert written(Google(), OTHER)["bound_calendar_id"] == OTHER


@pytest.mark.parametrize(("before", "after"), [*NAMES, ("primary", "primary")])
def test_an_edit_under_the_other_name_is_one_update(google: Google, before: str, after: str) -> None:
    """Also where the name was remembered as it was given, as older releases did."""
    memory = written(google, before)
    for name in (CALENDAR, before):
        item = memory | {"bound_calendar_id": name}
        outcome = done(google.run(work(upsert_json("second", after), seq=2, **item)))
        memory["etag"] = outcome.etag
        assert outcome.calendar_id == CALENDAR
    assert google.steps == [UPDATE, UPDATE]
    assert google.titles() == ["second"]


@pytest.mark.parametrize(("before", "after"), [*NAMES, ("primary", "primary")])
def test_a_cancel_under_the_other_name_is_one_delete(google: Google, before: str, after: str) -> None:
    item = work(cancel_json(after), seq=2, **written(google, before))
    done(google.run(item))
    assert google.steps == [DELETE]
    assert google.titles() == []


@pytest.mark.parametrize(("before", "after"), NAMES)
@pytest.mark.parametrize("forgotten", [{}, {"etag": None}])
def test_an_event_that_a_person_edited_is_found_under_the_other_name(
    google: Google, before: str, after: str, forgotten: dict[str, Any]
) -> None:
    memory = written(google, before) | {"bound_calendar_id": before} | forgotten
    google.emulator.edit_by_hand(CALENDAR, memory["bound_event_id"], {"summary": "edited"})
    done(google.run(work(upsert_json("second", after), seq=2, **memory)))
    assert DELETE not in google.steps
    assert google.titles() == ["second"]
    [event] = google.emulator.events(CALENDAR)
    google.emulator.edit_by_hand(CALENDAR, event["id"], {"summary": "edited"})
    done(google.run(work(cancel_json(after), seq=3, **memory)))
    assert google.titles() == []


@pytest.mark.parametrize(("before", "after"), NAMES)
def test_what_a_person_deleted_stays_deleted_under_the_other_name(google: Google, before: str, after: str) -> None:
    memory = written(google, before, bound_calendar_id=before)
    google.emulator.delete_by_hand(CALENDAR, memory["bound_event_id"])
    item = work(upsert_json("second", after), seq=2, **memory)
    assert dead(google.run(item)) is FailureCode.EVENT_GONE
    assert google.titles() == []


@pytest.mark.parametrize(("before", "after"), NAMES)
def test_recreating_under_the_other_name_makes_one_event(google: Google, before: str, after: str) -> None:
    memory = written(google, before)
    outcome = done(google.run(work(upsert_json("anew", after), seq=2, recreate=True, **memory)))
    assert outcome.generation == 1
    assert google.titles() == ["anew"]


ALIAS = "ada.lovelace@example.com"


@pytest.fixture
def alias(google: Google) -> str:
    """An address that means the calendar too, which nothing in the names tells."""
    google.emulator.api.calendars[ALIAS] = google.emulator.calendar(CALENDAR)
    return ALIAS


@pytest.mark.parametrize(("before", "after"), NAMES)
def test_what_was_just_written_is_never_cleared_away(google: Google, alias: str, before: str, after: str) -> None:
    """Not even where a person edits it between the write and the look at what seems to be another calendar."""
    memory = written(google, before)

    def edit(ask: Send) -> None:
        if ask.request.api_method is GET and google.steps.count(GET) == 1:
            google.emulator.edit_by_hand(CALENDAR, memory["bound_event_id"], {"summary": "edited"})

    outcome = google.run(work(upsert_json("second", after), seq=2, possible_calendars=(alias,), **memory), edit)
    assert isinstance(outcome, Done)
    assert DELETE not in google.steps
    assert google.titles() == ["edited"]


def test_an_update_that_changes_nothing_keeps_its_version_and_the_event(google: Google) -> None:
    """Then the version that is remembered of the old place is the one that was just written."""
    google.emulator.calendar(CALENDAR).unchanged_keeps_etag = True
    memory = written(google, CALENDAR)
    refused = Script(UPDATE, refusal(412, "conditionNotMet"))  # so that it is written by way of a look
    outcome = done(google.run(work(upsert_json("first", "primary"), seq=1, **memory), refused))
    assert outcome.etag == memory["etag"]
    assert google.titles() == ["first"]


@pytest.mark.parametrize("unchanged", [True, False])
def test_any_two_names_of_one_calendar_keep_the_event(google: Google, alias: str, unchanged: object) -> None:
    google.emulator.calendar(CALENDAR).unchanged_keeps_etag = True
    memory = written(google, CALENDAR)
    title = "first" if unchanged else "second"
    outcome = done(google.run(work(upsert_json(title, alias), **memory)))
    assert (outcome.etag == memory["etag"]) is unchanged, "an update that changes nothing keeps the version"
    assert google.titles() == [title]


@pytest.mark.parametrize(("before", "after"), NAMES)
def test_where_an_event_does_not_say_its_calendar_its_version_tells(google: Google, before: str, after: str) -> None:
    """Ownership of an event can be given to a colleague; then the calendar is not its organizer any more."""
    memory = written(google, before, bound_calendar_id=before)
    google.emulator.edit_by_hand(CALENDAR, memory["bound_event_id"], {"summary": "edited"})
    [event] = google.emulator.events(CALENDAR)
    event["organizer"] = {"email": BOB}
    outcome = done(google.run(work(upsert_json("second", after), seq=2, **memory)))
    assert outcome.calendar_id == after
    assert google.titles() == ["second"]


def test_a_calendar_that_cannot_be_looked_at_for_another_reason_says_nothing(google: Google) -> None:
    memory = written(google, "primary", bound_calendar_id=BOB, bound_event_id="never0")
    limited = refusal(429, "rateLimitExceeded")
    assert google.run(work(upsert_json("second", "primary"), seq=2, **memory), Script(LIST, limited)) == RATE
    assert google.titles() == ["first"]


def test_a_move_between_primary_and_another_calendar_is_a_move(google: Google) -> None:
    memory = written(google, "primary")
    there = done(google.run(work(upsert_json("moved", OTHER), seq=2, **memory)))
    assert (google.titles(), google.titles(OTHER)) == ([], ["moved"])
    google.asked.clear()
    back = done(google.run(work(upsert_json("back", "primary"), seq=3, **remembered(there))))
    assert back.calendar_id == CALENDAR
    assert (google.titles(), google.titles(OTHER)) == (["back"], [])


def test_a_calendar_that_is_no_accounts_own_is_not_looked_for_by_its_other_name(google: Google) -> None:
    memory = written(google, OTHER)
    google.asked.clear()
    assert done(google.run(work(upsert_json("moved", "primary"), seq=2, **memory))).calendar_id == CALENDAR
    assert google.steps == [INSERT, DELETE]


@pytest.mark.parametrize("noted", ["primary", CALENDAR])
def test_a_note_of_either_name_is_no_move(google: Google, noted: str) -> None:
    """An attempt that was lost says nothing of a move where it meant the calendar that the event is in."""
    memory = written(google, "primary")
    google.emulator.delete_by_hand(CALENDAR, memory["bound_event_id"])
    item = work(upsert_json("second", "primary"), seq=2, possible_calendars=(noted,), **memory)
    assert dead(google.run(item)) is FailureCode.EVENT_GONE


def test_a_duplicate_in_the_calendar_that_was_written_is_still_removed(google: Google, alias: str) -> None:
    """What is spared is the event that was written, not every event of its calendar."""
    written(google, CALENDAR, "duplicate")
    outcome = done(google.run(work(upsert_json("first"), generation=1)))
    item = work(upsert_json("second"), seq=2, possible_calendars=(alias,), **(remembered(outcome) | {"generation": 0}))
    done(google.run(item))
    assert google.titles() == ["second"]


# Another account


def test_the_events_of_another_account_are_made_anew_and_that_is_said(google: Google) -> None:
    memory = written(google, "primary")
    google.sign_in(BOB)
    outcome = done(google.run(work(upsert_json("second", "primary"), seq=2, **memory)))
    assert (outcome.calendar_id, outcome.note, outcome.possible_calendars) == (BOB, ANOTHER_ACCOUNT, ())
    assert (google.titles(BOB), google.titles(CALENDAR)) == (["second"], ["first"])
    google.asked.clear()
    done(google.run(work(upsert_json("third", "primary"), seq=3, **remembered(outcome))))
    assert google.steps == [UPDATE], "from then on it is as any other"


def test_a_cancel_after_the_account_changed_is_not_done(google: Google) -> None:
    memory = written(google, "primary")
    google.sign_in(BOB)
    item = work(cancel_json("primary"), seq=2, **memory)
    assert dead(google.run(item)) is FailureCode.CALENDAR_GONE
    google.sign_in(CALENDAR)
    assert isinstance(google.run(item), Done)
    assert google.titles() == []


def test_back_at_the_first_account_its_event_is_met_again(google: Google) -> None:
    memory = written(google, "primary")
    google.sign_in(BOB)
    outcome = done(google.run(work(upsert_json("second", "primary"), seq=2, **memory)))
    google.sign_in(CALENDAR)
    again = done(google.run(work(upsert_json("third", "primary"), seq=3, **remembered(outcome))))
    assert (again.calendar_id, google.titles(CALENDAR)) == (CALENDAR, ["third"])


def test_a_calendar_of_a_colleague_that_is_shared_is_left_by_a_move(google: Google) -> None:
    memory = written(google, "primary")
    google.sign_in(BOB)
    google.emulator.share(CALENDAR, BOB, "writer")
    outcome = done(google.run(work(upsert_json("second", "primary"), seq=2, **memory)))
    assert outcome.note == ""
    assert (google.titles(BOB), google.titles(CALENDAR)) == (["second"], [])


def test_an_account_whose_own_calendar_cannot_be_seen_is_the_calendars_fault(google: Google) -> None:
    memory = written(google, "primary")
    google.emulator.remove_calendar(CALENDAR)
    outcome = google.run(work(upsert_json("second", "primary"), seq=2, **memory))
    assert isinstance(outcome, Dead)
    assert outcome.code is FailureCode.CALENDAR_GONE


# Memory of an older release, which says no more than `primary`


def of_old(google: Google, **more: Any) -> dict[str, Any]:
    return written(google, "primary") | {"bound_calendar_id": "primary"} | more


@pytest.mark.parametrize("etag", [{}, {"etag": None}])
def test_an_insert_tells_another_account_from_a_deletion(google: Google, etag: dict[str, Any]) -> None:
    """A used id is taken for ever, so where Google accepts it the event never was."""
    memory = of_old(google, **etag)
    google.sign_in(BOB)
    outcome = done(google.run(work(upsert_json("second", "primary"), seq=2, **memory)))
    assert (outcome.calendar_id, outcome.note) == (BOB, ANOTHER_ACCOUNT)
    assert (google.titles(BOB), google.titles(CALENDAR)) == (["second"], ["first"])
    rebuilt = done(google.run(work(upsert_json("third", "primary"), seq=3, reopen=True, **memory)))
    assert rebuilt.note == "", "it is there already"


@pytest.mark.parametrize("purged", [False, True])
def test_what_a_person_deleted_stays_deleted_for_old_memory_too(google: Google, purged: bool) -> None:  # noqa: FBT001
    memory = of_old(google)
    google.emulator.delete_by_hand(CALENDAR, memory["bound_event_id"])

    def forgotten(ask: Send) -> Response | None:
        return refusal(404, "notFound") if purged and ask.request.api_method in (GET, UPDATE) else None

    outcome = google.run(work(upsert_json("second", "primary"), seq=2, **memory), forgotten)
    assert dead(outcome) is FailureCode.EVENT_GONE
    assert google.titles() == []


def test_a_move_by_old_memory_says_what_it_leaves_in_the_old_account(google: Google) -> None:
    memory = of_old(google)
    google.sign_in(BOB)
    google.emulator.share(OTHER, BOB, "writer")
    outcome = done(google.run(work(upsert_json("second", OTHER), seq=2, **memory)))
    assert (outcome.calendar_id, outcome.note) == (OTHER, ANOTHER_ACCOUNT)
    assert (google.titles(OTHER), google.titles(CALENDAR)) == (["second"], ["first"])


def test_an_id_of_googles_tells_nothing(google: Google) -> None:
    memory = of_old(google, bound_event_id="madebygoogle")
    google.sign_in(BOB)
    assert dead(google.run(work(upsert_json("second", "primary"), seq=2, **memory))) is FailureCode.EVENT_GONE
    assert isinstance(google.run(work(cancel_json("primary"), seq=2, **memory)), Done)


@pytest.mark.parametrize("etag", [{}, {"etag": None}])
def test_a_cancel_by_old_memory_is_done_only_where_the_event_was(google: Google, etag: dict[str, Any]) -> None:
    memory = of_old(google, **etag)
    item = work(cancel_json("primary"), seq=2, **memory)
    google.sign_in(BOB)
    assert dead(google.run(item)) is FailureCode.CALENDAR_GONE
    google.sign_in(CALENDAR)
    google.asked.clear()
    assert isinstance(google.run(item), Done)
    assert google.steps == ([GET, DELETE] if etag else [DELETE])
    assert google.titles() == []
    assert isinstance(google.run(item), Done), "what is a tombstone was there"


def test_a_later_generation_that_is_removed_was_the_event(google: Google) -> None:
    memory = of_old(google)
    item = work(cancel_json("primary"), seq=3, **memory)
    google.sign_in(BOB)
    done(google.run(work(upsert_json("second", "primary"), generation=1)))
    assert isinstance(google.run(item), Done)
    assert google.titles(BOB) == []


def test_nothing_private_is_in_what_is_said(google: Google) -> None:
    memory = written(google, "primary")
    google.sign_in(BOB)
    outcome = google.run(work(upsert_json("second", "primary"), seq=2, **memory))
    assert BOB not in repr(outcome)
