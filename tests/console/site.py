"""A console in the test's own loop, on a database, and a browser that a console knows."""

from collections.abc import Mapping
from typing import Any, Self

import httpx
import trio

from reactor.console.app import ConsoleApp
from reactor.console.console import Console
from reactor.console.database import ConsoleDatabase
from reactor.console.visitors.access import VisitorRules
from reactor.console.visitors.keys import VisitorKeys
from reactor.desk.google_event import GoogleReadSettings

HOME = "http://127.0.0.1:8400"
FORM = {"sec-fetch-site": "same-origin", "content-type": "application/x-www-form-urlencoded"}


class KnownBrowser:
    """A browser that has come by a console's link.

    Args:
        client: Its connections.
        link: The link.
    """

    def __init__(self, client: httpx.AsyncClient, link: str) -> None:
        self._client, self._link = client, link

    async def come(self) -> Self:
        """Come by the link."""
        assert (await self._client.get(self._link)).status_code == 303
        return self

    async def get(self, address: str, status: int = 200) -> str:
        """The HTML of a page."""
        answer = await self._client.get(address, headers={"accept": "text/html"})
        assert answer.status_code == status, (address, answer.text)
        return answer.text

    async def ask(self, address: str, accept: str) -> httpx.Response:
        """Whatever an address answers."""
        return await self._client.get(address, headers={"accept": accept})

    async def leads(self, address: str) -> str:
        """Where an address redirects to."""
        answer = await self._client.get(address)
        assert answer.status_code == 303, answer.text
        return str(answer.headers["location"])

    async def document(self, address: str, status: int = 200) -> Any:
        """The JSON of a page."""
        answer = await self._client.get(address, headers={"accept": "application/json"})
        assert answer.status_code == status, (address, answer.text)
        return answer.json()

    async def post(self, address: str, form: Mapping[str, str], status: int = 303) -> str:
        """Send a form; where it leads to, or the page that it answers with."""
        origin = str(self._client.base_url).rstrip("/")
        answer = await self._client.post(address, data=dict(form), headers={**FORM, "origin": origin})
        assert answer.status_code == status, answer.text
        return str(answer.headers.get("location", answer.text))


class DatabaseSite(KnownBrowser):
    """A console in this loop, and a browser that it knows.

    Args:
        dsn: Its database.
        google: With what it asks Google.

    Attributes:
        console: The console.
    """

    def __init__(self, dsn: str, google: GoogleReadSettings | None = None) -> None:
        self.console = Console(ConsoleDatabase(dsn), "staging", google=google)
        links: list[str] = []
        keys = VisitorKeys(links.append)
        keys.renew()
        app = ConsoleApp(self.console, VisitorRules(local_user="ada"), keys)
        transport = httpx.ASGITransport(app.door, client=("127.0.0.1", 1234))
        super().__init__(httpx.AsyncClient(transport=transport, base_url=HOME), f"/?key={links[0]}")

    async def open(self, nursery: trio.Nursery) -> Self:
        """Start what runs beside the pages, and come by the link."""
        nursery.start_soon(self.console.database.keep)
        nursery.start_soon(self.console.requeues.work)
        return await self.come()
