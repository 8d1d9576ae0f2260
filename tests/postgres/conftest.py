"""The application's side of the outbox, and a replica's: what most tests of the outbox begin with."""

from collections.abc import AsyncIterator, Iterator

import pytest

from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from tests.support.databases import Database
from tests.support.outbox_world import World


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    """With one workspace that is connected."""
    world = World(database)
    world.connect()
    yield world
    world.close()


@pytest.fixture
async def outbox(database: Database) -> AsyncIterator[Outbox]:
    async with open_session(database.reactor, name="claims") as session:
        yield Outbox(session)
