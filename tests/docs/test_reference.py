"""The reference says what the code does."""

import pytest

from tools.reference import DOCS, MADE, current


@pytest.mark.parametrize("file", MADE)
def test_the_reference_is_current(file: str) -> None:
    assert (DOCS / file).read_text("utf-8") == current(file), "run `make docs`"
