"""What is deployed stays as it is: a migration that was released is never edited, changes are new files.

`released_migrations.sha256` holds those of all releases; with each release (CONTRIBUTING.md) it is made again:

    (cd db/migrations && sha256sum *.sql) > tests/postgres/released_migrations.sha256
"""

import hashlib
from pathlib import Path

import pytest

from reactor.postgres.setup import schema
from tests.support import release_0_1

RELEASED = {
    name: digest
    for digest, name in map(str.split, Path(__file__).with_name("released_migrations.sha256").read_text().splitlines())
}


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_migration_is_never_edited(name: str) -> None:
    today = schema.directory() / "migrations" / name
    assert hashlib.sha256(today.read_bytes()).hexdigest() == RELEASED[name], f"{name} is deployed: write a new file"


def test_new_migrations_come_after_the_released_ones() -> None:
    names = [script.path.name for script in schema.migrations()]
    assert names[: len(RELEASED)] == list(RELEASED)


def test_the_release_that_upgrades_start_from_is_the_deployed_one() -> None:
    for copy in (release_0_1.SCHEMA / "migrations").glob("*.sql"):
        assert hashlib.sha256(copy.read_bytes()).hexdigest() == RELEASED[copy.name]
