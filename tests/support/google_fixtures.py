"""A Google of one's own for each test: fixtures around the emulator."""

import random
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import httpx
import pytest
import trio

from calendar_emulator import CLIENT_ID, CLIENT_SECRET, Emulator, Service, application, serve
from tests.support.discovery import Judge

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
def emulator(caplog: pytest.LogCaptureFixture) -> Iterator[Emulator]:
    """An emulator with one user whose primary calendar is empty.

    All that is asked of it and all that it answers must agree with Google's discovery document, or the test fails.
    """
    emulator = Emulator(rng=random.Random(20_261_201))
    judge = Judge()
    emulator.log.observers.append(judge)
    emulator.add_user(USER)
    yield emulator
    judge.verdict()
    failures = [record for record in caplog.get_records("call") if record.name.startswith("calendar_emulator")]
    assert not failures, f"the emulator failed: {failures}"


@pytest.fixture
async def google(emulator: Emulator, nursery: trio.Nursery) -> GoogleServer:
    """The emulator on a free loopback port."""
    url = await nursery.start(serve, application(Service(emulator)))
    return GoogleServer(emulator, url, emulator.oauth.grant(USER))


@pytest.fixture
async def google_http(google: GoogleServer) -> AsyncIterator[httpx.AsyncClient]:
    """A plain HTTP client with a valid token; what it gets is what was on the wire."""
    token = google.emulator.issue_access_token(USER)
    async with httpx.AsyncClient(base_url=google.api_root, headers={"Authorization": f"Bearer {token}"}) as client:
        yield client
