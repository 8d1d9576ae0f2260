"""However many look, the database is asked once in two seconds, and not at all while no one looks."""

from datetime import timedelta
from typing import Any

import httpx
import pytest
import trio

from reactor.console.app import ConsoleApp
from reactor.console.console import Console
from reactor.console.database import PageCost
from reactor.console.snapshot import FRESH, SharedSnapshot, Snapshot
from reactor.console.visitors.access import VisitorRules
from reactor.console.visitors.keys import VisitorKeys
from reactor.desk.rights import LoginRights, rights
from reactor.errors import TransientError
from tests.console.attacks import ATTACK
from tests.console.test_verdict import WELL

VIEWERS = 50


class Taking:
    """Counts how often a look is taken; a look takes half a second."""

    def __init__(self) -> None:
        self.taken = 0
        self.fails = False

    async def __call__(self) -> Snapshot:
        self.taken += 1
        await trio.sleep(0.5)
        if self.fails:
            raise TransientError("away")
        return Snapshot({"n": self.taken}, {})


async def test_fifty_viewers_cost_one_look(autojump_clock: trio.abc.Clock) -> None:
    del autojump_clock
    taking = Taking()
    snapshot = SharedSnapshot(taking)
    seen = []

    async def look() -> None:
        seen.append((await snapshot()).status["n"])

    for rounds in (1, 2):
        async with trio.open_nursery() as viewers:
            for _ in range(VIEWERS):
                viewers.start_soon(look)
        assert (taking.taken, seen[-1]) == (rounds, rounds)
        await look()
        assert taking.taken == rounds, "it is still fresh"
        await trio.sleep(1_000)
        assert taking.taken == rounds, "no one looks"
    assert len(seen) == 2 * VIEWERS + 2


async def test_a_look_that_failed_is_shared_and_taken_again(autojump_clock: trio.abc.Clock) -> None:
    del autojump_clock
    taking = Taking()
    snapshot, taking.fails = SharedSnapshot(taking), True
    failed = 0

    async def look() -> None:
        nonlocal failed
        try:
            await snapshot()
        except TransientError:
            failed += 1

    async with trio.open_nursery() as viewers:
        for _ in range(VIEWERS):
            viewers.start_soon(look)
    assert (taking.taken, failed) == (1, VIEWERS)
    taking.fails = False
    await trio.sleep(FRESH)
    assert (await snapshot()).status == {"n": 2}


async def test_who_gives_up_takes_the_look_from_no_one(autojump_clock: trio.abc.Clock) -> None:
    del autojump_clock
    taking = Taking()
    snapshot = SharedSnapshot(taking)
    with trio.move_on_after(0.1):
        await snapshot()
    assert (await snapshot()).status == {"n": 2}


class _Database:
    """The desk's answer, without a database."""

    def __init__(self, status: dict[str, Any] = WELL) -> None:
        self.asked = 0
        self._status = status

    async def read(self, work: object, cost: PageCost) -> object:
        if work is rights:
            return LoginRights(viewer=True, operator=True, words=True)
        self.asked += 1
        cost.statements += 11
        await trio.sleep(0.1)
        activity = {
            "points": [],
            "step": timedelta(minutes=1),
            "whole": {"done": 0, "p50": None, "failed": 0, "dead": 0},
        }
        return self._status, activity, []


async def test_fifty_pages_cost_one_look_and_the_next_answer_is_that_nothing_changed() -> None:
    database = _Database()
    keys = VisitorKeys()
    app = ConsoleApp(Console(database), VisitorRules(), keys)  # type: ignore[arg-type]
    keys.renew()
    answers: list[httpx.Response] = []
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app.door),
        base_url="http://127.0.0.1:8400",
        cookies={"console-8400": keys.exchange(keys._key) or ""},
    ) as client:

        async def look() -> None:
            answers.append(await client.get("/"))

        async with trio.open_nursery() as viewers:
            for _ in range(VIEWERS):
                viewers.start_soon(look)
        assert {answer.status_code for answer in answers} == {200}
        assert database.asked == 1
        assert "11 statements" in answers[0].text
        assert "shared by all who look" in answers[0].text
        [tag] = {answer.headers["etag"] for answer in answers}
        again = await client.get("/", headers={"if-none-match": tag})
        assert (again.status_code, again.content) == (304, b"")
        document = await client.get("/", headers={"accept": "application/json", "if-none-match": tag})
        assert document.status_code == 200, "HTML and JSON have tags of their own"
        assert document.json()["items"] == WELL["items"]
        assert document.json()["verdict"]["sentence"].startswith("All is well")
    assert database.asked == 1


async def test_what_the_database_holds_is_escaped_and_cleaned() -> None:
    """Before any browser sees it, and whatever a template forgets."""
    keys = VisitorKeys()
    attacked = {**WELL, "dead_letters": {"codes": {ATTACK: 1}, "capped": False}}
    app = ConsoleApp(Console(_Database(attacked)), VisitorRules(), keys)  # type: ignore[arg-type]
    keys.renew()
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app.door),
        base_url="http://127.0.0.1:8400",
        cookies={"console-8400": keys.exchange(keys._key) or ""},
    ) as client:
        page = (await client.get("/")).text
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") > 1
    assert "<script>alert" not in page
    assert "{{7*7}}" in page
    assert not [each for each in "\x1b\x07\u202e" if each in page]


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/json", "application/json"),
        ("text/html,application/xhtml+xml,application/json;q=0.9", "text/html"),
        ("*/*", "text/html"),
        ("", "text/html"),
    ],
)
async def test_a_program_gets_json_and_a_browser_html(accept: str, kind: str) -> None:
    keys = VisitorKeys()
    app = ConsoleApp(Console(_Database()), VisitorRules(), keys)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app.door), base_url="http://127.0.0.1:8400") as client:
        answer = await client.get("/", headers={"accept": accept})
    assert answer.headers["content-type"].startswith(kind)
    assert answer.headers["vary"] == "Accept"
