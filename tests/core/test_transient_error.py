"""Errors that may go away by themselves."""

from reactor.errors import RefusedError, TransientError


def test_it_carries_what_the_other_side_asked_to_wait() -> None:
    assert TransientError("Busy.", retry_after=7.0).retry_after == 7.0
    assert TransientError("Busy.").retry_after is None


def test_a_refusal_by_the_database_names_its_sqlstate() -> None:
    assert (RefusedError("42501").sqlstate, str(RefusedError("42501"))) == ("42501", "The database refused: 42501.")
    assert str(RefusedError("")) == "The database refused: no SQLSTATE."
