"""What is deployed stays as it is: a migration that was released is never edited, changes are new files."""

from pathlib import Path

import pytest

from reactor.postgres import schema
from tests import release_0_1

RELEASED = sorted((release_0_1.SCHEMA / "migrations").glob("*.sql"))


@pytest.mark.parametrize("released", RELEASED, ids=lambda path: path.stem)
def test_a_released_migration_is_never_edited(released: Path) -> None:
    today = schema.directory() / "migrations" / released.name
    assert today.read_bytes() == released.read_bytes(), f"{released.name} is deployed: write a new file"


def test_new_migrations_come_after_the_released_ones() -> None:
    ids = [script.id for script in schema.migrations()]
    assert ids[: len(RELEASED)] == [path.stem for path in RELEASED]
