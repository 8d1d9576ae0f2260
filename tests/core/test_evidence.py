"""What tells a bad item from an outage, by example and against a plain list of what happened."""

from hypothesis import given, strategies as st

from reactor.core.calendar.answers import (
    BAD_REQUEST,
    LOST,
    NO_CALENDAR,
    RATE,
    SERVER,
    SERVICE_ACCOUNTS_PRIMARY,
    UNEXPECTED,
    UNSENT,
)
from reactor.core.calendar.token_answers import NO_ANSWER
from reactor.core.dispatch.evidence import CAPACITY, Answered, AnswerHistory
from reactor.core.item import Item
from reactor.core.outcome import Dead, Outcome, Retry, Scope, Superseded
from tests.core.test_lanes import DONE, claimed


def item(number: int, *, of: int = 1) -> Item:
    return claimed(of, number)


def test_a_first_failure_is_free_whatever_got_through() -> None:
    evidence = AnswerHistory()
    evidence.take_in(item(2, of=2), DONE)
    assert evidence.since_failure(item(1)) is Answered.NONE


def test_in_an_outage_nobody_is_answered_and_nothing_is_charged() -> None:
    evidence = AnswerHistory()
    for outcome in (SERVER, LOST, UNSENT, NO_ANSWER, RATE) * 3:
        for number in range(5):
            assert evidence.since_failure(item(number, of=number)) is Answered.NONE
            evidence.take_in(item(number, of=number), outcome)


def test_what_got_through_since_the_failure_is_evidence() -> None:
    evidence = AnswerHistory()
    evidence.take_in(item(1), SERVER)
    evidence.take_in(item(2), DONE)
    assert evidence.since_failure(item(1)) is Answered.NEIGHBOUR
    evidence.take_in(item(3, of=2), DONE)
    assert evidence.since_failure(item(1)) is Answered.WORKSPACE
    evidence.take_in(item(1), SERVER)
    assert evidence.since_failure(item(1)) is Answered.NONE, "only since the last failure"


def test_a_neighbour_that_is_answered_twice_has_no_other_answer_behind_it() -> None:
    evidence = AnswerHistory()
    evidence.take_in(item(2), SERVER)
    for _ in range(2):
        evidence.take_in(item(1), SERVER)
        evidence.take_in(item(1), UNEXPECTED)
    assert evidence.since_failure(item(2)) is Answered.NEIGHBOUR
    assert evidence.since_failure(item(1)) is Answered.NONE


def test_what_died_without_a_question_is_none() -> None:
    evidence = AnswerHistory()
    evidence.take_in(item(1), SERVER)
    evidence.take_in(item(2), SERVICE_ACCOUNTS_PRIMARY)
    evidence.take_in(item(3, of=2), SERVICE_ACCOUNTS_PRIMARY)
    assert evidence.since_failure(item(1)) is Answered.NONE


def test_its_own_answers_are_none() -> None:
    evidence = AnswerHistory()
    evidence.take_in(item(1), SERVER)
    evidence.take_in(item(1), UNEXPECTED)
    assert evidence.since_failure(item(1)) is Answered.NONE
    evidence.take_in(item(2), SERVER)
    assert evidence.since_failure(item(1)) is Answered.NONE


def test_what_is_over_is_forgotten() -> None:
    for over in (DONE, Superseded(9), NO_CALENDAR, BAD_REQUEST):
        evidence = AnswerHistory()
        evidence.take_in(item(1), SERVER)
        evidence.take_in(item(1), over)
        evidence.take_in(item(2), DONE)
        assert evidence.since_failure(item(1)) is Answered.NONE
        assert len(evidence) == 0


def test_whose_answer_it_takes_depends_on_what_failed() -> None:
    assert [a.suffices(Scope.ITEM) for a in Answered] == [False, True, True]
    assert [a.suffices(Scope.LANE) for a in Answered] == [False, False, True]


def test_memory_is_bounded_and_what_is_forgotten_is_free_again() -> None:
    evidence = AnswerHistory(capacity=3)
    for number in range(5):
        evidence.take_in(item(number), SERVER)
    evidence.take_in(item(9, of=2), DONE)
    assert len(evidence) == 3
    assert [evidence.since_failure(item(n)) for n in range(5)] == [Answered.NONE] * 2 + [Answered.WORKSPACE] * 3
    assert AnswerHistory()._capacity == CAPACITY


OUTCOMES = [DONE, BAD_REQUEST, UNEXPECTED, SERVER, LOST, UNSENT, RATE, NO_ANSWER]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3), st.sampled_from(OUTCOMES)), max_size=30))
def test_it_says_what_a_list_of_everything_says(history: list[tuple[int, int, Outcome]]) -> None:
    evidence = AnswerHistory()
    happened: list[tuple[Item, Outcome]] = []
    for of, number, outcome in history:
        one = item(number, of=of)
        assert evidence.since_failure(one) is since_failure(one, happened)
        evidence.take_in(one, outcome)
        happened.append((one, outcome))


def since_failure(one: Item, happened: list[tuple[Item, Outcome]]) -> Answered:
    own = [n for n, (who, o) in enumerate(happened) if who.id == one.id and is_failure_or_end(o)]
    if not own or not is_failure(happened[own[-1]][1]):
        return Answered.NONE
    answered = [who for who, outcome in happened[own[-1] + 1 :] if is_answer(outcome) and who.id != one.id]
    if any(who.workspace_id != one.workspace_id for who in answered):
        return Answered.WORKSPACE
    return Answered.NEIGHBOUR if answered else Answered.NONE


def is_failure(outcome: Outcome) -> bool:
    return isinstance(outcome, Retry) and outcome.outage


def is_failure_or_end(outcome: Outcome) -> bool:
    return not isinstance(outcome, Retry) or outcome.outage


def is_answer(outcome: Outcome) -> bool:
    if isinstance(outcome, Retry):
        return not outcome.outage and outcome.scope is Scope.ITEM
    return not isinstance(outcome, Dead) or outcome in (NO_CALENDAR, BAD_REQUEST)
