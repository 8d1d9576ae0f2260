"""`/drift/<workspace>` over HTTP: it asks first, compares with the emulator, and shows both sides without a word."""

from collections.abc import Iterator
from uuid import uuid4

import pytest
import trio
from structlog.testing import capture_logs

from reactor.console.pages import drift as page
from tests.commands.test_commands_drift import Remembered
from tests.console.open_site import OpenSite, open_site
from tests.support.commands import settings_of
from tests.support.google_fixtures import USER
from tests.support.process_world import KEYS, WORKSPACE, World

SECRET = "the secret plan"
PATH = f"/drift/{WORKSPACE}"


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with capture_logs():
        yield


def given(world: World) -> dict[str, str]:
    google = {name.lower(): value for name, value in settings_of(world.google).items()}
    return {"database_url": world.database.reactor, "token_encryption_keys": KEYS, **google}


async def compared(site: OpenSite) -> str:
    """Compare, as a person does; return the page."""
    begun = await site.post(PATH)
    assert begun.status_code == 303, begun.text
    with trio.fail_after(60):
        while "being compared" in (text := (await site.client.get(PATH)).text):  # noqa: ASYNC110  (a page is asked)
            await trio.sleep(0.05)
    return text


async def test_it_asks_first_and_shows_both_sides(world: World, nursery: trio.Nursery) -> None:
    world.connect()
    memory = Remembered(world)
    keys = [memory.write(number, USER) for number in range(1, 5)]
    log = world.google.emulator.log
    async with open_site(nursery, world.database.reactor, given=given(world)) as site:
        asked = await site.client.get(PATH)
        assert "Compare now: about 1 call" in asked.text
        assert log.counts.total() == 0, "a page load asks Google nothing"
        assert (await site.document(PATH))["dry_run"] is True

        assert "Calendar and application agree" in await compared(site)

        calendar = world.google.emulator.calendar(USER)
        calendar.records.pop("event1")
        calendar.ordered[:] = [each for each in calendar.ordered if each.event["id"] != "event1"]
        world.google.emulator.edit_by_hand(USER, "event2", {"summary": SECRET})
        memory.insert(USER, "twin", SECRET, {"reactorWorkspace": str(WORKSPACE), "reactorSource": keys[2]})
        memory.insert(USER, "alone", SECRET, {"reactorWorkspace": str(WORKSPACE), "reactorSource": f"task:{uuid4()}"})
        text = await compared(site)
        assert "4 events differ" in text
        for said in ("(7 characters)", "(15 characters)", *keys[:3], "missing", "twice", "unexpected", "twin"):
            assert said in text, said
        assert keys[3] not in text
        assert SECRET not in text
        document = await site.document(PATH)
        assert (document["compared"], document["counts"]["missing"], document["counts"]["different"]) == (1, 1, 1)
        assert document["workspaces"][0]["workspace"] == str(WORKSPACE)
        assert SECRET not in str(document)

        world.execute("update google_connections set refresh_token_encrypted = 'x'")
        assert "There is no access token" in await compared(site)
        assert not any(log.count(each) for each in ("insert", "update", "patch", "delete"))
        unknown = await site.client.get(f"/drift/{uuid4()}")
        assert (unknown.status_code, "Nothing is known of workspace" in unknown.text) == (422, True)


async def test_without_the_secret_it_shows_the_command(world: World, nursery: trio.Nursery) -> None:
    world.connect()
    async with open_site(nursery, world.database.reactor) as site:
        asked = await site.client.get(PATH)
        assert (
            f"In a terminal that has them: <code>python -m reactor drift --workspace {WORKSPACE}</code>" in asked.text
        )
        assert '<form class="act' not in asked.text
        refused = await site.post(PATH)
        assert (refused.status_code, "has not all of Google" in refused.text) == (422, True)
        assert world.google.emulator.log.counts.total() == 0


async def test_a_viewer_and_a_large_workspace_are_refused(
    world: World, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect()
    async with open_site(nursery, world.database.reactor, may_act=False, given=given(world)) as site:
        assert "You may look, but not act" in (await site.client.get(PATH)).text
        assert (await site.post(PATH)).status_code == 403
    Remembered(world).write(1, USER)
    monkeypatch.setattr(page, "LARGEST", 0)
    async with open_site(nursery, world.database.reactor, given=given(world)) as site:
        assert "That is for a terminal" in (await site.client.get(PATH)).text
        assert (await site.post(PATH)).status_code == 422
    assert world.google.emulator.log.counts.total() == 0
