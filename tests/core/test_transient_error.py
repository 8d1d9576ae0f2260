"""The error that may go away by itself."""

from reactor.errors import TransientError


def test_it_carries_what_the_other_side_asked_to_wait() -> None:
    assert TransientError("Busy.", retry_after=7.0).retry_after == 7.0
    assert TransientError("Busy.").retry_after is None
