"""The outcome values."""

from reactor.core.outcome import FailureCode


def test_a_failure_code_reads_as_it_is_stored() -> None:
    assert str(FailureCode.EVENT_GONE) == "EVENT_GONE"
