"""What is counted, and under which of a bounded set of labels."""

from uuid import UUID

import pytest

from reactor.core.calendar.messages import Method, NoResponse, Reply, Response
from reactor.core.item import Item, Settlement, SourceState, Status, WorkspaceConnection
from reactor.core.outcome import FailureCode
from reactor.core.stats import Calls, Deafness, Stats


def item(operation: str = "UPSERT_EVENT", attempts: int = 0) -> Item:
    consent = WorkspaceConnection("token", "version")
    return Item(
        UUID(int=1), UUID(int=2), "task:1", 1, 1, operation, {}, attempts, 5, 0.0, False, SourceState(), consent
    )


@pytest.mark.parametrize(
    ("status", "code", "outcome"),
    [
        ("COMPLETED", None, "applied"),
        ("COMPLETED", FailureCode.SUPERSEDED, "superseded"),
        ("FAILED", None, "retried"),
        ("PENDING", None, "given_back"),
        ("DEAD_LETTER", FailureCode.AUTH, "dead"),
    ],
)
def test_an_end_is_counted_by_what_it_came_to(status: Status, code: FailureCode | None, outcome: str) -> None:
    stats = Stats()
    stats.written(Settlement(item(), status, 0, failure_code=code))
    assert stats.processed == {("UPSERT_EVENT", outcome): 1}
    assert stats.settled == {status: 1}
    assert stats.codes == ({code: 1} if code else {})
    assert stats.superseded == (outcome == "superseded")


def test_attempts_count_where_they_count() -> None:
    stats = Stats()
    stats.written(Settlement(item(attempts=1), "FAILED", 2))
    stats.written(Settlement(item(attempts=1), "PENDING", 1))
    assert stats.attempts == 1


def test_an_operation_that_nobody_knows_makes_no_label() -> None:
    stats = Stats()
    stats.written(Settlement(item("x" * 100), "DEAD_LETTER", 0, failure_code=FailureCode.BAD_PAYLOAD))
    assert stats.processed == {("other", "dead"): 1}


@pytest.mark.parametrize(
    ("reply", "code"), [(Response(200), "200"), (Response(418), "other"), (NoResponse("no connection"), "none")]
)
def test_a_call_is_counted_by_its_code(reply: Reply, code: str) -> None:
    calls = Calls()
    assert calls.part(Method.INSERT, reply) == code
    assert calls.request(Method.BATCH, reply, 0.3) == code
    assert calls.counts == {("insert", code): 1, ("batch", code): 1}
    assert (sum(calls.seconds.counts), calls.seconds.total) == (1, 0.3)


def test_deafness_begins_with_a_loss_and_ends_with_a_word() -> None:
    deaf = Deafness()
    assert deaf.seconds(100.0) == 0
    deaf.lost(100.0)
    deaf.lost(101.0)
    assert deaf.seconds(102.0) == 2
    deaf.heard(103.0)
    deaf.heard(104.0)
    assert (deaf.seconds(110.0), deaf.total) == (3, 3)
