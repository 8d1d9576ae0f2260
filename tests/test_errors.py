"""The errors."""

from reactor.errors import TransientError


def test_a_transient_error_carries_how_long_to_wait() -> None:
    assert TransientError("busy", retry_after=7.0).retry_after == 7.0
    assert str(TransientError("busy")) == "busy"
