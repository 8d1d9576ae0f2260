"""Values that items make: as frozen dataclasses, without the guard that mypy makes needless."""

from dataclasses import field, replace

import pytest

from reactor.core.item import SourceState
from reactor.core.outcome import Retry
from reactor.core.value import value


@value(frozen=True, slots=True)
class _Place:
    name: str
    secret: str = field(default="", repr=False)


def test_a_value_compares_hashes_and_shows_itself_as_a_frozen_dataclass_does() -> None:
    assert _Place("a", "b") == _Place("a", "b") != _Place("a", "c")
    assert len({_Place("a"), _Place("a"), _Place("b")}) == 2
    assert repr(_Place("a", "b")).endswith("_Place(name='a')")
    assert replace(_Place("a", "b"), name="c") == _Place("c", "b")


def test_a_value_has_no_room_for_other_fields() -> None:
    with pytest.raises(AttributeError):
        _Place("a").other = 1  # type: ignore[attr-defined]


def test_the_type_checker_refuses_to_change_a_value() -> None:
    """Each of these comments would be an error of mypy's (`warn_unused_ignores`) if it allowed the assignment."""
    _Place("a").name = "b"  # type: ignore[misc]
    SourceState().generation = 1  # type: ignore[misc]
    Retry("r", counts=True).counts = False  # type: ignore[misc]
