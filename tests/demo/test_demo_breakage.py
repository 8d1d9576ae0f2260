"""The demo's page *Break it*: what a visitor breaks by it, the reactor mends, in a demo that goes on meanwhile."""

from collections.abc import Callable, Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
import trio
from structlog.testing import capture_logs

from reactor.console.app import PAGES
from reactor.console.pages import break_it
from reactor.demo import breakage as module
from reactor.demo.breakage import DemoBreakage
from reactor.demo.command import reactor
from reactor.demo.demo import Demo
from reactor.demo.options import Options
from tests.console.open_site import OpenSite, open_site
from tests.support.databases import Server


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with capture_logs():
        yield


class Visit:
    """A visitor of the page.

    Attributes:
        seen: What was said to be broken.
    """

    def __init__(self, site: OpenSite, dsn: str, workspace: UUID) -> None:
        self.site, self.dsn, self.workspace = site, dsn, workspace
        self.seen: list[str] = []

    async def breaks(self, kind: str) -> None:
        answer = await self.site.post("/break", kind=kind, workspace=str(self.workspace))
        assert answer.status_code == 303, answer.text

    async def until(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        with trio.fail_after(60):
            while True:
                state: dict[str, Any] = await self.site.document("/break")
                self.seen.append(state["current"])
                if wanted(state):
                    return state
                await trio.sleep(0.05)

    async def equal(self) -> None:
        await self.until(lambda state: not state["differences"] and not state["current"])

    def connection(self) -> bool:
        with psycopg.connect(self.dsn) as session:
            statement = "select is_valid from google_connections where workspace_id = %s"
            [(valid,)] = session.execute(statement, (self.workspace,)).fetchall()
        return bool(valid)

    def rebuild(self) -> None:
        """What the page of rebuilds does: here is only the row."""
        statement = """
            insert into sync_outbox (workspace_id, operation, payload)
            select workspace_id, 'REBUILD_ALL', jsonb_build_object(
                     'operation', 'REBUILD_ALL', 'workspaceId', workspace_id, 'calendarId', calendar_id)
              from google_connections where workspace_id = %s
        """
        with psycopg.connect(self.dsn) as session:
            session.execute(statement, (self.workspace,))


async def healing(visit: Visit) -> None:
    site = visit.site
    await visit.until(lambda state: state["events"] > 20)
    await visit.equal()
    assert "the calendars equal the application" in (await site.client.get("/break")).text

    for kind, counted in (
        ("unavailable", "503"),
        ("rate-limit", "rate limit"),
        ("lost-answers", "lost answers"),
        ("revoked", "consent revoked"),
    ):
        visit.seen.clear()
        await visit.breaks(kind)
        await visit.until(lambda state: bool(state["current"]))
        again = await site.post("/break", kind=kind, workspace=str(visit.workspace))
        assert again.status_code == 422, "one at a time"
        await visit.until(lambda state, kind=counted: state["healed"].get(kind) == 1)  # type: ignore[misc]
        assert any(visit.seen), kind
        await visit.equal()
    assert visit.connection(), "an administrator has connected it again"

    await visit.breaks("deleted")
    gone = await visit.until(lambda state: state["healed"].get("deleted by hand") == 1)
    assert gone["differences"] >= 3
    text = (await site.client.get(f"/break?workspace={visit.workspace}")).text
    assert f'href="/drift/{visit.workspace}"' in text
    visit.rebuild()
    await visit.equal()

    for form in ({"kind": "x", "workspace": str(visit.workspace)}, {"kind": "deleted", "workspace": "x"}):
        assert (await site.post("/break", **form)).status_code == 422
    foreign = await site.client.post("/break", data={"kind": "deleted", "workspace": str(visit.workspace)})
    assert foreign.status_code == 403


async def test_what_a_visitor_breaks_heals(postgres: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST", 1.0)
    monkeypatch.setattr(module, "_FRESH", 0.0)

    async def console(
        variables: dict[str, str], breakage: DemoBreakage, stop: trio.Event, say: Callable[[str], object]
    ) -> None:
        del stop, say
        dsn = variables["database_url"]
        pages = (*PAGES, break_it.PAGE)
        async with trio.open_nursery() as nursery:
            async with open_site(nursery, dsn, pages=pages, given=variables, breakable=breakage) as site:
                await healing(Visit(site, dsn, next(iter(breakage.workspaces))))
            nursery.cancel_scope.cancel()
        demo.stop.set()

    async def view(_: object) -> None:
        await trio.sleep_forever()

    options = Options(rate=8, database_url=postgres.admin_dsn)
    demo = Demo(options, reactor, view=view, say=lambda _: None, console=console)
    with trio.fail_after(240):
        summary = await demo.play()
    assert summary is not None
    assert summary.stats.outbox.done > 20


async def test_no_other_console_has_the_page(nursery: trio.Nursery) -> None:
    dsn = "host=127.0.0.1 port=1 dbname=none user=none"
    async with open_site(nursery, dsn) as site:
        assert (await site.client.get("/break")).status_code == 404
        assert (await site.post("/break", kind="deleted", workspace="x")).status_code == 404
    async with open_site(nursery, dsn, pages=(*PAGES, break_it.PAGE)) as site:
        assert (await site.client.get("/break")).status_code == 422
