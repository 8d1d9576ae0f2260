"""A Google of one's own for each test: fixtures around the emulator."""

import random
from dataclasses import dataclass

import pytest
import trio

from reactor.emulator import CLIENT_ID, CLIENT_SECRET, Emulator, Service, application, serve

USER = "ada@example.com"


@dataclass(frozen=True)
class GoogleServer:
    """A running emulator: what a client has to be told, and the emulator itself to look into."""

    emulator: Emulator
    url: str
    refresh_token: str
    client_id: str = CLIENT_ID
    client_secret: str = CLIENT_SECRET
    user: str = USER

    @property
    def api_root(self) -> str:
        return f"{self.url}/"

    @property
    def token_uri(self) -> str:
        return f"{self.url}/token"


@pytest.fixture
async def google(nursery: trio.Nursery) -> GoogleServer:
    """An emulator on a free loopback port, with one user whose primary calendar is empty."""
    emulator = Emulator(rng=random.Random(20_261_201))
    refresh_token = emulator.add_user(USER)
    url = await nursery.start(serve, application(Service(emulator)))
    return GoogleServer(emulator, url, refresh_token)
