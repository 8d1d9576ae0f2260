"""The judge finds every kind of disagreement, whichever calendars the events lie in, and nothing else."""

from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from reactor.drift import calendar_event
from reactor.drift.calendar_event import CalendarEvent
from reactor.drift.judge import DriftFinding, DriftKind, Judge, SourceRecord, judge_again, needs_lookup
from reactor.drift.traces import Trace, Waiting, explain
from reactor.drift.wanted import Field, Unusable, WantedEvent

Json = dict[str, Any]

W = "w1"
HOME, TEAM = "ada@example.com", "team@group.calendar.google.com"
NOTHING = SourceRecord()


def want(title: str = "t", calendar_id: str = HOME) -> WantedEvent:
    return WantedEvent(calendar_id, {Field.TITLE: title})


def event(event_id: str, source: str = "task:1", *, title: str = "t", owner: str = HOME, **more: Any) -> CalendarEvent:
    private = {"reactorWorkspace": W, "reactorSource": source}
    shown = {
        "id": event_id,
        "summary": title,
        "organizer": {"email": owner},
        "extendedProperties": {"private": private},
    }
    found = calendar_event.read(shown | more)
    assert found is not None
    return found


def remember(event_id: str, calendar_id: str = HOME, **more: bool) -> SourceRecord:
    return SourceRecord(event_id, calendar_id, **more)


def what(finding: DriftFinding | None) -> tuple[str, tuple[str, ...], tuple[str, ...]] | None:
    """A finding's kind, its events and the fields that differ."""
    if finding is None:
        return None
    return finding.kind.value, finding.events, tuple(each.field.value for each in finding.fields)


def test_an_event_that_is_as_it_should_be() -> None:
    judge = Judge(W)
    judge.see(HOME, event("e1"), want())
    assert judge.judge("task:1", want(), remember("e1")) is None
    assert list(judge.rest()) == []


def test_kinds() -> None:
    judge = Judge(W)
    judge.see(HOME, event("d1", "task:different", title="other"), want())
    judge.see(HOME, event("a1", "task:twice"), want())
    judge.see(HOME, event("a2", "task:twice"), want())
    judge.see(HOME, event("b1", "task:dead", status="cancelled"), want())
    judge.see(HOME, event("u1", "task:unexpected"), None)
    judge.see(TEAM, event("u2", "task:unexpected", owner=TEAM), None)
    judge.gone("gone@example.com", "404 notFound")
    assert what(judge.judge("task:different", want(), remember("d1"))) == ("different", ("d1",), ("title",))
    twice = judge.judge("task:twice", want(), remember("a2"))
    assert what(twice) == ("twice", ("a1", "a2"), ())
    assert twice.problem == "a2 is the one that is remembered"  # type: ignore[union-attr]
    assert what(judge.judge("task:dead", want(), remember("b1"))) == ("deleted_by_hand", ("b1",), ())
    assert what(judge.judge("task:missing", want(), NOTHING)) == ("missing", (), ())
    gone = judge.judge("task:gone", want(calendar_id="gone@example.com"), NOTHING)
    assert what(gone) == ("calendar_gone", (), ())
    assert gone.problem == "404 notFound"  # type: ignore[union-attr]
    odd = judge.judge("task:odd", Unusable("title"), NOTHING)
    assert what(odd) == ("unusable", (), ())
    assert odd.problem == "the application's title cannot be used"  # type: ignore[union-attr]
    rest = list(judge.rest())
    assert [(what(each), each.calendar_id) for each in rest] == [
        (("unexpected", ("u1",), ()), HOME),
        (("unexpected", ("u2",), ()), TEAM),
    ]
    assert judge.events == 5


def test_two_of_which_none_is_remembered() -> None:
    judge = Judge(W)
    for each in ("a1", "a2"):
        judge.see(HOME, event(each), want())
    found = judge.judge("task:1", want(), NOTHING)
    assert found
    assert found.problem == "none is remembered"


def test_what_is_not_ours_is_passed_over() -> None:
    judge = Judge(W)
    judge.see(HOME, event("o1", extendedProperties={"private": {"reactorWorkspace": "w2"}}), None)
    judge.see(HOME, event("o2", extendedProperties={}), None)
    judge.see(HOME, event("e1_20260301", recurringEventId="e1"), want())
    judge.see(HOME, event("e1_20260308", recurringEventId="e1", status="cancelled"), want())
    assert (list(judge.rest()), judge.events, judge.occurrences) == ([], 0, 2)


def test_a_calendar_with_two_names_is_one_calendar() -> None:
    judge = Judge(W)
    for name in ("primary", HOME):
        judge.see(name, event("e1"), want())
    assert judge.judge("task:1", want(), remember("e1")) is None
    assert judge.events == 1


def test_one_id_in_two_calendars_is_two_events() -> None:
    judge = Judge(W)
    judge.see(HOME, event("e1"), want())
    judge.see(TEAM, event("e1", owner=TEAM), want())
    assert what(judge.judge("task:1", want(), remember("e1"))) == ("twice", ("e1", "e1"), ())


def test_an_event_in_another_calendar_and_under_another_id() -> None:
    judge = Judge(W)
    judge.see(TEAM, event("e2", owner=TEAM), want())
    found = judge.judge("task:1", want(), remember("e1"))
    assert what(found) == ("different", ("e2",), ("event_id", "calendar"))
    assert [(each.wanted, each.actual) for each in found.fields] == [("e1", "e2"), (HOME, TEAM)]  # type: ignore[union-attr]


def test_what_is_wanted_only_since_its_calendar_was_read() -> None:
    judge = Judge(W)
    judge.see(HOME, event("e1"), None)
    found = judge.judge("task:1", want("new"), remember("e1"))
    assert found
    assert found.on_its_way


@pytest.mark.parametrize(
    ("memory", "kind"),
    [
        (remember("e1"), DriftKind.DELETED_BY_HAND),
        (remember("e1", removed=True), DriftKind.MISSING),
        (remember("e1", TEAM), DriftKind.MISSING),
        (remember("e2"), DriftKind.MISSING),
        (NOTHING, DriftKind.MISSING),
    ],
)
def test_a_tombstone_is_a_persons_where_we_believe_the_event_to_live(memory: SourceRecord, kind: DriftKind) -> None:
    judge = Judge(W)
    judge.see(HOME, event("e1", status="cancelled"), want())
    found = judge.judge("task:1", want(), memory)
    assert found
    assert found.kind is kind


MISSING = DriftFinding(DriftKind.MISSING, "task:1", HOME)
BARE: Json = {"extendedProperties": None}


def test_only_what_is_remembered_can_be_asked_for() -> None:
    assert needs_lookup(MISSING, remember("e1"))
    assert not needs_lookup(MISSING, NOTHING)
    assert not needs_lookup(DriftFinding(DriftKind.TWICE, "task:1", HOME), remember("e1"))


@pytest.mark.parametrize(
    ("memory", "found", "expected"),
    [
        (remember("e1"), None, ("missing", (), ())),
        (remember("e1"), event("e1", status="cancelled"), ("deleted_by_hand", ("e1",), ())),
        (remember("e1", removed=True), event("e1", status="cancelled"), ("missing", (), ())),
        (remember("e1", marked=False), event("e1", **BARE), None),
        (remember("e1"), event("e1", **BARE), ("different", ("e1",), ("marker",))),
        (remember("e1", marked=False), event("e1", title="other", **BARE), ("different", ("e1",), ("title",))),
        (remember("e1", TEAM, marked=False), event("e1", owner=TEAM, **BARE), ("different", ("e1",), ("calendar",))),
        (remember("e1", "primary", marked=False), event("e1", **BARE), None),
    ],
)
def test_an_event_that_is_in_no_list(memory: SourceRecord, found: CalendarEvent | None, expected: object) -> None:
    assert what(judge_again(MISSING, want(), memory, found)) == expected


@pytest.mark.parametrize(
    ("kind", "trace", "rebuild", "on_its_way", "item"),
    [
        (DriftKind.MISSING, Trace(), None, False, ""),
        (DriftKind.MISSING, Trace(Waiting("i1", 10.0)), None, True, "i1"),
        (DriftKind.MISSING, Trace(Waiting("i1", 100.0)), None, False, "i1"),
        (DriftKind.MISSING, Trace(Waiting("i1")), None, False, "i1"),
        (DriftKind.DELETED_BY_HAND, Trace(Waiting("i1", 10.0)), None, False, ""),
        (DriftKind.DELETED_BY_HAND, Trace(), Waiting("r1", 10.0), True, "r1"),
        (DriftKind.CALENDAR_GONE, Trace(Waiting("i1", 10.0)), Waiting("r1", 10.0), False, ""),
        (DriftKind.DIFFERENT, Trace(dead_letter="d1", code="BAD_REQUEST"), None, False, "d1"),
        (DriftKind.CALENDAR_GONE, Trace(settled=True), None, True, ""),
    ],
)
def test_what_the_outbox_says(
    kind: DriftKind,
    trace: Trace,
    rebuild: Waiting | None,
    on_its_way: bool,  # noqa: FBT001
    item: str,
) -> None:
    told = explain(DriftFinding(kind, "task:1", HOME), trace, rebuild, patience=60.0)
    assert (told.on_its_way, told.item, told.code) == (on_its_way, item, trace.code)


FATES = ("same", "missing", "different", "twice", "deleted_by_hand", "unexpected", "calendar_gone", "unusable", "moved")


@settings(max_examples=50)
@given(st.lists(st.sampled_from(FATES), max_size=30), st.randoms())
def test_what_is_planted_is_found(fates: list[str], random: Any) -> None:
    """Differences of every kind, their events in any order and spread over calendars of which one has two names."""
    judge = Judge(W)
    wanted: dict[str, tuple[WantedEvent | Unusable, SourceRecord]] = {}
    sights: list[tuple[str, CalendarEvent, WantedEvent | None]] = []
    for number, fate in enumerate(fates):
        key, event_id, title = f"task:{number}", f"e{number}", f"t{number}"
        home = random.choice((HOME, TEAM))
        state = Unusable("title") if fate == "unusable" else want(title, "gone" if fate == "calendar_gone" else home)
        if fate != "unexpected":
            wanted[key] = state, remember(event_id, home)
        there = TEAM if home == HOME and fate == "moved" else HOME if fate == "moved" else home
        events = {
            "missing": [],
            "calendar_gone": [],
            "different": [event(event_id, key, title="!", owner=there)],
            "twice": [
                event(event_id, key, title=title, owner=there),
                event(f"x{number}", key, title=title, owner=there),
            ],
            "deleted_by_hand": [event(event_id, key, owner=there, status="cancelled")],
        }.get(fate, [event(event_id, key, title=title, owner=there)])
        names = ("primary", HOME) if there == HOME else (TEAM,)
        current = state if isinstance(state, WantedEvent) and fate != "unexpected" else None
        sights += [(name, each, current) for name in names for each in events]
    random.shuffle(sights)
    judge.gone("gone", "404")
    for sight in sights:
        judge.see(*sight)
    found = [judge.judge(key, *state) for key, state in wanted.items()]
    kinds = Counter(each.kind.value for each in [*found, *judge.rest()] if each)
    assert kinds == Counter("different" if fate == "moved" else fate for fate in fates if fate != "same")
