"""Workspaces, connections, brakes and rebuilds as a browser meets them: what they say is so, and each act is done,
recorded, and refused where it must be.
"""

import os
import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any, LiteralString
from urllib.parse import urlencode
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
import trio
from psycopg import sql
from psycopg.conninfo import make_conninfo

from reactor.console.app import ConsoleApp
from reactor.console.console import Console
from reactor.console.database import ConsoleDatabase
from reactor.console.visitors.access import VisitorRules
from reactor.console.visitors.keys import VisitorKeys
from reactor.core.dispatch.lane import LaneStatus
from reactor.observability.server import Server
from reactor.postgres.connection.pool import Pool
from reactor.postgres.pulses import write_pulse
from tests.desk.test_pulses import ONE, STATE, lane, leases, pool, pulse
from tests.support.databases import Database
from tests.support.outbox_world import World, source, workspace
from tests.support.rebuild_world import APPLICATION, VIEW

__all__ = ["leases", "pool"]

REASON = "Ada asked for it"
STOP: LiteralString = "insert into sync_brakes (workspace_id, cause, deletes, events) values (%s, 'BURST', %s, 500)"


class Visit:
    """A browser at a console that listens on a real port.

    Attributes:
        client: The browser.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def json(self, path: str, status: int = 200) -> Any:
        answer = await self.client.get(path, headers={"accept": "application/json"})
        assert answer.status_code == status, answer.text
        return answer.json()

    async def page(self, path: str, status: int = 200) -> str:
        answer = await self.client.get(path)
        assert answer.status_code == status, answer.text
        return unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", answer.text)))

    async def send(self, path: str, **fields: str) -> httpx.Response:
        """Send the form of a page with what a person has filled in; its hidden fields go with it as they are."""
        shown = await self.client.get(path)
        hidden = re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', shown.text)
        return await self.post(path, {name: unescape(value) for name, value in hidden} | fields)

    async def post(self, path: str, fields: dict[str, str]) -> httpx.Response:
        headers = {
            "sec-fetch-site": "same-origin",
            "origin": str(self.client.base_url).rstrip("/"),
            "content-type": "application/x-www-form-urlencoded",
        }
        return await self.client.post(path, content=urlencode(fields), headers=headers)


async def visited(dsn: str, nursery: trio.Nursery) -> Visit:
    links: list[str] = []
    keys = VisitorKeys(links.append)
    keys.renew()
    database = ConsoleDatabase(dsn)
    nursery.start_soon(database.keep)
    app = ConsoleApp(Console(database, "staging"), VisitorRules(local_user="ada"), keys)
    url = await nursery.start(Server(app.door).run, "127.0.0.1", 0, trio.Event())
    client = httpx.AsyncClient(base_url=url)
    assert (await client.get(f"/?key={links[0]}")).status_code == 303
    return Visit(client)


@pytest.fixture
async def visit(database: Database, nursery: trio.Nursery) -> AsyncIterator[Visit]:
    visit = await visited(database.reactor, nursery)
    yield visit
    await visit.client.aclose()


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    yield world
    world.close()


@pytest.fixture
def viewer(database: Database) -> Iterator[str]:
    """Connection string of a login that sees all and may change nothing."""
    name = sql.Identifier(f"viewer_{os.getpid()}")
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute((Path(__file__).resolve().parents[2] / "db" / "console.sql").read_bytes())
        owner.execute(
            sql.SQL("create role {} login password 'only-for-tests' in role calendar_sync_viewer").format(name)
        )
        yield make_conninfo(database.owner, user=name.as_string(owner).strip('"'), password="only-for-tests")
        owner.execute(sql.SQL("drop role {}").format(name))


def acts(world: World) -> list[dict[str, Any]]:
    return [
        row
        for (row,) in world.connection.execute(
            "select to_jsonb(a) - 'id' - 'at' from sync_acts as a order by id"
        ).fetchall()
    ]


def done(answer: httpx.Response) -> str:
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def test_a_brake_is_released_by_who_has_seen_what_would_go(visit: Visit, world: World) -> None:
    stopped = world.connect()
    path = f"/brakes/{stopped}"
    assert (await visit.client.get(path)).status_code == 422
    world.connection.execute(STOP, (stopped, 40))
    world.connection.execute(
        "insert into sync_sources (workspace_id, source_key, google_event_id) values (%s, %s, 'e')",
        (stopped, f"task:{source()}"),
    )
    world.insert(operation="CANCEL_EVENT")
    assert [each["deletes"] for each in (await visit.json("/brakes"))["stopped"]] == [40]
    said = await visit.page(path)
    assert "40 of 500 events would have been deleted" in said
    assert f"task:{source()}" in said
    assert f'<a href="/w/{stopped}/s/task:{source()}">' in (await visit.client.get(path)).text
    assert f"python -m reactor brake release --workspace {stopped}" in said
    assert "Release, and delete them in staging" in said
    assert (await visit.json(path))["sample"]["types"] == {"task": 1}

    for wrong in ({}, {"reason": " "}, {"reason": REASON, "seen": "BURST 39 500"}):
        assert (await visit.send(path, **wrong)).status_code == 422
    assert world.one("select released_at from sync_brakes") is None
    assert acts(world) == []

    assert done(await visit.send(path, reason=REASON)) == f"/w/{stopped}"
    assert world.one("select released_at is not null from sync_brakes")
    [act] = acts(world)
    said_by = {name: act[name] for name in ("who", "how", "act", "workspace_id", "reason")}
    assert said_by == {
        "who": "ada",
        "how": "console",
        "act": "brake release",
        "workspace_id": str(stopped),
        "reason": REASON,
    }
    assert (act["forecast"]["deletes"], act["forecast"]["events"]) == (40, 500)
    assert REASON in await visit.page(f"/w/{stopped}")
    assert (await visit.post(path, {"reason": REASON, "seen": "BURST 40 500"})).status_code == 422
    assert len(acts(world)) == 1


async def test_many_events_are_deleted_after_their_number_is_typed(visit: Visit, world: World) -> None:
    world.connection.execute(STOP, (workspace(), 1_217))
    path = f"/brakes/{workspace()}"
    assert "Type 1217" in await visit.page(path)
    for typed in ("", "216", "many", "-1217"):
        assert (await visit.send(path, reason=REASON, typed=typed)).status_code == 422, typed
        assert world.one("select released_at from sync_brakes") is None
    for typed in ("1217", "1,217", "1.217 "):
        world.connection.execute("update sync_brakes set released_at = null")
        done(await visit.send(path, reason=REASON, typed=typed))
        assert world.one("select released_at is not null from sync_brakes")
    assert len(acts(world)) == 3


async def test_a_connection_is_disabled_and_enabled(visit: Visit, world: World) -> None:
    whose = world.connect()
    died = world.insert(status="DEAD_LETTER", failure_code="AUTH")
    path = f"/connections/{whose}"
    assert "Disable the connection in staging" in await visit.page(path)
    assert done(await visit.send(path, reason=REASON)) == f"/w/{whose}"
    assert world.one("select is_valid from google_connections") is False
    said = await visit.page(path)
    assert "1 dead letter of AUTH is put back" in said
    assert f"python -m reactor connections enable --workspace {whose}" in said
    assert (await visit.post(path, {"reason": REASON, "act": "disable"})).status_code == 422, "it is already"
    assert (await visit.post(path, {"reason": REASON, "act": "delete"})).status_code == 422
    assert (await visit.send(path)).status_code == 422
    assert world.one("select is_valid from google_connections") is False
    assert done(await visit.send(path, reason=REASON)) == f"/w/{whose}"
    assert world.one("select is_valid from google_connections") is True
    assert world.status(died) == ("PENDING", 0, None)
    assert [(each["act"], each["reason"], each["result"]) for each in acts(world)] == [
        ("connection disable", REASON, {"requeued": 0}),
        ("connection enable", REASON, {"requeued": 1}),
    ]
    assert (await visit.client.get(f"/connections/{uuid4()}")).status_code == 422


async def test_a_rebuild_is_started_after_its_forecast(visit: Visit, world: World) -> None:
    whose = world.connect()
    world.connection.execute(APPLICATION.encode())
    world.connection.execute(VIEW.encode())
    for number in range(3):
        world.connection.execute(
            "insert into app_events (workspace_id, calendar_id, source_id, title) values (%s, 'primary', %s, 'words')",
            (whose, source(str(number))),
        )
    path = f"/rebuilds/new?workspace={whose}"
    found = await visit.json(path)
    assert (found["forecast"]["writes"], found["forecast"]["deletes"], found["problem"]) == (3, 0, None)
    said = await visit.page(f"{path}&recreate=yes")
    assert "3 events again, under new ids" in said
    assert f"python -m reactor rebuild --workspace {whose} --recreate" in said
    assert "words" not in said
    assert (await visit.send(path)).status_code == 422
    assert world.one("select count(*) from sync_outbox") == len(acts(world)) == 0

    shown = done(await visit.post("/rebuilds/new", {"workspace": str(whose), "recreate": "yes", "reason": REASON}))
    rebuild = UUID(shown.removeprefix("/rebuilds/"))
    row = world.row(rebuild)
    assert (row["operation"], row["workspace_id"], row["payload"]["recreate"]) == ("REBUILD_ALL", str(whose), True)
    [act] = acts(world)
    assert (act["act"], act["target"]["rebuild"], act["forecast"]["writes"]) == ("rebuild", str(rebuild), 3)
    assert "It has not begun" in await visit.page(shown)
    assert "has a rebuild that is not done" in await visit.page(path), "there is one at a time"
    assert (await visit.post("/rebuilds/new", {"workspace": str(whose), "reason": REASON})).status_code == 422
    for bad in ("", "x", str(uuid4())):
        assert (await visit.post("/rebuilds/new", {"workspace": bad, "reason": REASON})).status_code == 422
    assert "This is not the id of a workspace" in await visit.page("/rebuilds/new?workspace=x")
    assert len(acts(world)) == 1


async def test_how_far_a_rebuild_is(visit: Visit, world: World) -> None:
    world.connect()
    rebuild = world.insert(operation="REBUILD_ALL", status="COMPLETED")
    for number in range(7):
        world.insert(str(number), status="COMPLETED", parent_id=rebuild)
    world.insert("overtaken", status="COMPLETED", failure_code="SUPERSEDED", parent_id=rebuild)
    world.insert("open", parent_id=rebuild)
    dead = world.insert("dead", status="DEAD_LETTER", failure_code="BAD_REQUEST", parent_id=rebuild)
    said = await visit.page(f"/rebuilds/{rebuild}")
    assert "9 of 10 settled (90 %)." in said
    assert "dead of BAD_REQUEST 1" in said
    assert "overtaken 1" in said
    world.connection.execute("update sync_outbox set status = 'COMPLETED' where status = 'PENDING'")
    assert "It is over, and left 1 dead letter." in await visit.page(f"/rebuilds/{rebuild}")
    assert [each["id"] for each in (await visit.json("/rebuilds"))["rebuilds"]] == [str(rebuild)]
    for none in (dead, uuid4()):
        assert (await visit.client.get(f"/rebuilds/{none}")).status_code == 422


async def test_a_login_that_may_only_look_changes_nothing(world: World, viewer: str, nursery: trio.Nursery) -> None:
    """The database refuses it, whatever the console believes of its visitor."""
    whose = world.connect()
    world.connection.execute(STOP, (workspace("stopped"), 40))
    visit = await visited(viewer, nursery)
    acts_of_a_viewer = (
        (f"/brakes/{workspace('stopped')}", {"seen": "BURST 40 500"}),
        (f"/connections/{whose}", {"act": "disable"}),
        ("/rebuilds/new", {"workspace": str(whose)}),
    )
    for path, fields in acts_of_a_viewer:
        assert (await visit.client.get(path)).status_code == 200, path
        answer = await visit.post(path, {**fields, "reason": REASON})
        assert answer.status_code in (403, 422), path
        assert re.search("may not do this|You may look, but not do this", answer.text)
    assert world.one("select released_at from sync_brakes") is None
    assert world.one("select is_valid from google_connections") is True
    assert world.one("select count(*) from sync_outbox") == len(acts(world)) == 0
    await visit.client.aclose()


async def test_a_long_list_comes_in_pages(visit: Visit, world: World) -> None:
    """Each workspace is in each list once, whatever page it is on."""
    many = 103
    whose = {world.connect(str(number), valid=number % 3 > 0) for number in range(many)}
    for number in range(many):
        world.insert(of=str(number))
        world.insert(of=str(number), operation="REBUILD_ALL")
        world.connection.execute(STOP, (workspace(str(number)), 40))
    for path, of, name in (
        ("/w", "workspaces", "workspace"),
        ("/connections", "connections", "workspace"),
        ("/brakes", "stopped", "workspace_id"),
        ("/rebuilds", "rebuilds", "workspace"),
    ):
        seen: list[list[UUID]] = []
        address = path
        while address and len(seen) < 4:
            seen.append([UUID(each[name]) for each in (await visit.json(address))[of]])
            shown = (await visit.client.get(address)).text
            assert len(shown) < 60_000, "a client that does not read could hold up the end of the console"
            [*links] = re.findall(r'<a href="([^"]+)" rel="next">', shown)
            address = unescape(links[0]) if links else ""
        assert [len(each) for each in seen] == [50, 50, 3], path
        assert {each for part in seen for each in part} == whose
        for bad in ("x", "~~", "1~now~x", f"infinity~{uuid4()}x", "1~2026-11-29 12:00~" + str(uuid4())):
            assert (await visit.client.get(path, params={"after": bad})).status_code == 422, (path, bad)
    assert len((await visit.json("/w?state=stopped"))["workspaces"]) == 50
    assert (await visit.json("/w?state=held"))["workspaces"] == []
    assert (await visit.client.get("/w?state=odd")).status_code == 422


async def test_one_workspace_in_a_sentence(visit: Visit, world: World) -> None:
    world.connect()
    assert "Nothing waits." in await visit.page(f"/w/{workspace()}")
    world.connection.execute("update google_connections set is_valid = false")
    assert "Nothing waits, but its connection is not valid" in await visit.page(f"/w/{workspace()}")
    world.connection.execute("update google_connections set is_valid = true")
    world.insert()
    assert "All is well: 1 item waits." in await visit.page(f"/w/{workspace()}")
    world.connection.execute("update sync_outbox set last_error = 'It has no key'")
    assert "1 item waits; when tried: It has no key." in await visit.page(f"/w/{workspace()}")
    world.connection.execute("update sync_outbox set last_error = null")
    world.connection.execute("update sync_outbox set next_attempt_at = now() - interval '2 h'")
    world.insert("dead", status="DEAD_LETTER", failure_code="BAD_REQUEST", last_error="It says no.")
    said = await visit.page(f"/w/{workspace()}")
    assert "Its oldest due item has waited for 2 h; it has 1 dead letter." in said
    assert "It says no." in said
    world.connection.execute("update google_connections set is_valid = false")
    world.connection.execute(STOP, (workspace(), 40))
    said = await visit.page(f"/w/{workspace()}")
    assert (
        "The brake has stopped it: 40 of 500 events would have been deleted; 1 item waits for a valid connection"
        in said
    )
    assert (await visit.client.get(f"/w/{uuid4()}")).status_code == 422


async def test_a_lane_and_until_when_it_will_have_sent(
    visit: Visit, world: World, pool: Pool, leases: list[int]
) -> None:
    world.connect()
    for number in range(30):
        world.insert(str(number))
    told = lane(workspace(), LaneStatus.BROKEN, breaker="open", rate=0.05)
    await write_pulse(pool, ONE, pulse(state=replace(STATE, lease=leases[0], lanes=(told,))))
    said = await visit.page(f"/w/{workspace()}")
    assert "Google does not answer for it, and is asked again and again." in said
    assert "pod-1 broken open" in said
    assert re.search(r"30 items at 3 a minute: through by (\d{4}-\d\d-\d\d )?\d\d:\d\d", said)
    rebuild = world.insert(operation="REBUILD_ALL", status="COMPLETED")
    world.insert("child", parent_id=rebuild)
    assert re.search(
        r"0 of 1 settled \(0 %\). 1 item at 3 a minute: through by", await visit.page(f"/rebuilds/{rebuild}")
    )
    assert [each["workspace"] for each in (await visit.json("/w?state=broken"))["workspaces"]] == [str(workspace())]


async def test_what_a_rebuild_would_delete(visit: Visit, world: World) -> None:
    rebuild = world.insert(operation="REBUILD_ALL")
    world.connection.execute(STOP, (world.connect(), 40))
    world.connection.execute("update sync_brakes set cause = 'REBUILD', rebuild_id = %s", (rebuild,))
    path = f"/brakes/{workspace()}"
    assert "a rebuild would delete them, because the application does not say them any more" in await visit.page(path)
    assert f'href="/rebuilds/{rebuild}"' in (await visit.client.get(path)).text
