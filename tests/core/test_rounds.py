"""What travels together."""

from collections.abc import Iterable

from reactor.core.calendar.dialogue import Dialogue, Send
from reactor.core.calendar.messages import ApiRequest, Method, NoResponse, Response
from reactor.core.calendar.rounds import DialogueRunner
from reactor.core.outcome import Dead, Retry

OK = Response(200)


def asks(*questions: Send, result: int = 0) -> Dialogue[int]:
    """A dialogue that asks some questions, whatever is answered."""
    for question in questions:  # noqa: UP028 - a tuple's iterator cannot be sent replies
        yield question
    return result


def question(resource: str = "", *, alone: bool = False, pause: float = 0.0) -> Send:
    return Send(ApiRequest(Method.GET, "GET", "x", resource=resource), alone=alone, pause=pause)


def places(rounds: DialogueRunner[int], parts: int) -> list[list[int]]:
    return [list(group) for group in rounds.groups(parts)]


def rounds_of(questions: Iterable[Send]) -> DialogueRunner[int]:
    return DialogueRunner([asks(q, result=number) for number, q in enumerate(questions)])


def test_questions_go_together_up_to_the_limit() -> None:
    rounds = rounds_of(question(f"e{number}") for number in range(5))
    assert places(rounds, 2) == [[0, 1], [2, 3], [4]]
    assert places(rounds, 1) == [[0], [1], [2], [3], [4]]
    assert places(rounds, 50) == [[0, 1, 2, 3, 4]]


def test_two_questions_about_one_event_never_go_together() -> None:
    rounds = rounds_of(question(resource) for resource in ("a", "b", "a", "a", "c"))
    assert places(rounds, 50) == [[0, 1, 4], [2], [3]]


def test_questions_about_no_event_may_go_together() -> None:
    assert places(rounds_of([question(), question()]), 50) == [[0, 1]]


def test_what_ends_without_a_question_is_over_at_once() -> None:
    ended: list[tuple[int, object]] = []
    rounds = DialogueRunner([asks(result=7), asks(question("a"), result=8)], lambda *end: ended.append(end))
    assert ended == [(0, 7)]
    assert places(rounds, 50) == [[1]]
    rounds.answer(1, OK)
    assert rounds.over
    assert rounds.results == [7, 8]


def test_what_several_ask_of_a_calendar_is_asked_once_and_answered_to_all() -> None:
    def look(target: str) -> Send:
        return Send(ApiRequest(Method.LIST, "GET", target))

    rounds = rounds_of([look("a"), question("e"), look("a"), look("b"), look("a")])
    assert places(rounds, 50) == [[0, 1, 3]]
    rounds.send_alone(0)
    alone, together = rounds.groups(50)
    assert (list(alone), list(together)) == ([0], [1, 3])
    assert (sorted(rounds.askers(alone)), sorted(rounds.askers(together))) == ([0, 2, 4], [1, 3])
    for place in (0, 1, 3):
        rounds.answer(place, OK)
    assert rounds.over
    assert rounds.results == [0, 1, 2, 3, 4]


def test_what_must_be_alone_is_alone() -> None:
    rounds = rounds_of([question("a"), question("b", alone=True), question("c")])
    assert places(rounds, 50) == [[0, 2], [1]]
    rounds.send_alone(0)
    assert places(rounds, 50) == [[0], [1], [2]]


def test_a_pause_holds_nobody_else_back() -> None:
    rounds = rounds_of([question("a", pause=2.0), question("b"), question("c", pause=3.0)])
    assert rounds.pause == 0.0
    assert places(rounds, 50) == [[1]]
    rounds.answer(1, OK)
    assert rounds.pause == 3.0
    assert places(rounds, 50) == [[0, 2]]


def test_a_dialogue_goes_on_with_its_reply_and_ends_with_its_result() -> None:
    ended = []
    rounds = DialogueRunner(
        [asks(question("a"), question("b"), result=7)], lambda place, result: ended.append((place, result))
    )
    rounds.answer(0, OK)
    assert rounds.groups(9)[0][0].request.resource == "b"
    rounds.answer(0, NoResponse("lost"))
    assert rounds.over
    assert rounds.results == [7]
    assert ended == [(0, 7)]
    assert rounds.pause == 0.0


def test_abandoned_dialogues_end_with_the_same_outcome() -> None:
    rounds = rounds_of([question("a"), question("b"), question("c")])
    rounds.answer(1, OK)
    outcome: Retry | Dead = Retry("no token", counts=False)
    rounds.abandon(outcome)
    assert rounds.over
    assert rounds.results == [outcome, 1, outcome]


def test_no_dialogues_are_over_at_once() -> None:
    rounds = rounds_of([])
    assert rounds.over
    assert rounds.results == []
