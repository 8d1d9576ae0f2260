"""Rows for the commands to see."""

from collections.abc import Iterator

import pytest

from tests.support.databases import Database
from tests.support.outbox_world import World as Rows


@pytest.fixture
def rows(database: Database) -> Iterator[Rows]:
    rows = Rows(database)
    yield rows
    rows.close()
