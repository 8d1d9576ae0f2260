"""The benchmark of where the time goes knows the code by names; they are those of today."""

import re
from pathlib import Path

import pytest

from benchmarks import where

PACKAGE = Path(__file__).parents[2] / "reactor"


@pytest.mark.parametrize("place", where.AT)
def test_a_place_of_the_profile_is_there(place: str) -> None:
    path, _, function = place.partition(" ")
    assert re.search(rf"\bdef {function}\b" if function else "", (PACKAGE / path).read_text("utf-8"))


def test_the_steps_of_a_wake_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[str] = []

    def around(_: where.Noted, owner: object, name: str, **__: str) -> None:
        assert callable(getattr(owner, name))
        noted.append(name)

    monkeypatch.setattr(where.Noted, "around", around)
    where.note_steps()
    assert len(noted) == 9
