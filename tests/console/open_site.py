"""A console in this process, on a real socket, and a browser that has come by its link: for tests of pages.

async with open_site(nursery, dsn) as site:
    answer = await site.post("/lint", payload="{}")
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import httpx
import trio

from reactor.console.app import PAGES, ConsoleApp
from reactor.console.console import Console
from reactor.console.database import ConsoleDatabase
from reactor.console.page import Page
from reactor.console.visitors.access import VisitorRules
from reactor.console.visitors.keys import VisitorKeys
from reactor.observability.server import Server

VIEWER = {"x-user": "viewer@example.com"}


@dataclass(frozen=True, slots=True)
class OpenSite:
    """A console.

    Attributes:
        console: What its pages stand on.
        url: Where it is.
        client: A browser that may do everything.
    """

    console: Console
    url: str
    client: httpx.AsyncClient

    @property
    def _ours(self) -> dict[str, str]:
        form = "application/x-www-form-urlencoded"
        return {"sec-fetch-site": "same-origin", "origin": self.url, "content-type": form}

    async def post(self, path: str, **form: str) -> httpx.Response:
        """Send a form as the console's own page does."""
        return await self.client.post(path, data=form, headers=self._ours)

    async def document(self, path: str, form: dict[str, str] | None = None) -> Any:
        """What a page says, as JSON."""
        headers = {"accept": "application/json", **({} if form is None else self._ours)}
        method = "GET" if form is None else "POST"
        answer = await self.client.request(method, path, data=form, headers=headers, follow_redirects=True)
        assert answer.headers["content-type"].startswith("application/json"), answer.text
        return answer.json()


@asynccontextmanager
async def open_site(
    nursery: trio.Nursery, dsn: str, *, pages: Sequence[Page] = PAGES, may_act: bool = True, **more: Any
) -> AsyncIterator[OpenSite]:
    """Serve a console until the block ends.

    Args:
        nursery: In which it runs.
        dsn: Its database.
        pages: Its pages.
        may_act: Whether the browser may act; otherwise it comes by a proxy that says that it may look.
        more: More of the console.
    """
    more.setdefault("given", {"database_url": dsn})
    console, stop, links = Console(ConsoleDatabase(dsn), **more), trio.Event(), list[str]()
    if may_act:
        rules, keys = VisitorRules(local_user="ada"), VisitorKeys(links.append)
    else:
        rules = VisitorRules(user_header="x-user", proxies=(ip_network("127.0.0.1/32"),))
        keys = VisitorKeys()
    app = ConsoleApp(console, rules, keys, pages)
    nursery.start_soon(console.database.keep)
    nursery.start_soon(console.errands.run)
    url = await nursery.start(Server(app.door).run, "127.0.0.1", 0, stop)
    keys.renew()
    console.address = url
    async with httpx.AsyncClient(base_url=url, headers={} if may_act else VIEWER, timeout=30) as client:
        if may_act:
            assert (await client.get(f"/?key={links[-1]}")).status_code == 303
        yield OpenSite(console, url, client)
    stop.set()
