"""`/check` over HTTP: it looks when it is asked to, shows findings as they come, and says what the command says."""

from collections.abc import Iterator
from dataclasses import asdict
from threading import Event
from typing import Any

import pytest
import trio
import trio.testing
from structlog.testing import capture_logs

from reactor.console.pages import check as page
from reactor.console.shared.errands import AT_ONCE, KEPT, Errand, Errands
from reactor.desk.check.finding import CheckFinding, CheckVerdict
from reactor.desk.check.run import findings
from reactor.errors import ReactorError, TransientError
from tests.console.open_site import OpenSite, open_site
from tests.support.commands import settings_of
from tests.support.databases import Database
from tests.support.google_fixtures import GoogleServer
from tests.support.process_world import KEYS


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with capture_logs():
        yield


async def over(site: OpenSite) -> str:
    """The page, once the look is over."""
    with trio.fail_after(60):
        while "Checking" in (text := (await site.client.get("/check")).text):  # noqa: ASYNC110  (a page is asked)
            await trio.sleep(0.05)
    return text


async def test_it_says_what_the_command_says(database: Database, google: GoogleServer, nursery: trio.Nursery) -> None:
    given = {
        "database_url": database.reactor,
        "token_encryption_keys": KEYS,
        **{name.lower(): value for name, value in settings_of(google).items()},
    }
    async with open_site(nursery, database.reactor, may_act=False, given=given) as site:
        assert "Nothing has been checked" in (await site.client.get("/check")).text
        assert (await site.client.post("/check")).status_code == 403, "not from another site"
        begun = await site.post("/check")
        assert (begun.status_code, begun.headers.get("location")) == (303, "/check"), begun.text
        text = await over(site)
        assert "All is well" in text
        assert "by viewer@example.com" in text
        expected = await trio.to_thread.run_sync(lambda: [asdict(each) for each in findings(**given)])
        assert len(expected) > 10
        assert await site.document("/check") == expected


async def test_findings_come_one_by_one_and_a_second_press_begins_no_second_look(
    database: Database, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, asked = Event(), list[Any]()

    def slow(**given: Any) -> Iterator[CheckFinding]:
        asked.append(given)
        yield CheckFinding("one", CheckVerdict.FAIL, "run `this` <b>")
        go.wait(30)
        yield CheckFinding("two", CheckVerdict.WARN, "that")

    monkeypatch.setattr(page, "findings", slow)
    async with open_site(nursery, database.reactor) as site:
        await site.post("/check")
        with trio.fail_after(30):
            while "1 finding so far" not in (text := (await site.client.get("/check")).text):  # noqa: ASYNC110
                await trio.sleep(0.02)
        assert "run <code>this</code> &lt;b&gt;" in text
        await site.post("/check")
        go.set()
        assert "1 fault and 1 warning." in await over(site)
        assert asked == [{"database_url": database.reactor}]
        await site.post("/check")
        await over(site)
        assert len(asked) == 2


async def test_errands_are_bounded_and_their_ends_are_kept(nursery: trio.Nursery) -> None:
    errands, go = Errands(), trio.Event()
    nursery.start_soon(errands.run)

    async def waits(errand: Errand) -> None:
        await go.wait()
        errand.result = "done"

    async def fails(errand: Errand) -> None:
        raise ReactorError("a sentence")

    async def breaks(errand: Errand) -> None:
        raise KeyError("a secret")

    first = errands.begin("0", "ada", waits)
    assert errands.begin("0", "eve", waits) is first
    for n in range(1, AT_ONCE):
        errands.begin(str(n), "ada", waits)
    with pytest.raises(TransientError, match="busy"):
        errands.begin("more", "ada", waits)
    assert errands.of("more") is None
    go.set()
    await trio.testing.wait_all_tasks_blocked()
    assert (first.result, first.is_over, first.error) == ("done", True, "")
    for work, said in ((fails, "a sentence"), (breaks, "a bug in the console")):
        failed = errands.begin("0", "ada", work)
        await trio.testing.wait_all_tasks_blocked()
        assert said in failed.error
        assert "secret" not in failed.error
    for n in range(KEPT):
        errands.begin(f"again {n}", "ada", waits)
        await trio.testing.wait_all_tasks_blocked()
    assert errands.of("0") is None
    assert errands.of("again 0") is not None
