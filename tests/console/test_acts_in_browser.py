"""Acts as a person does them in Chromium, with and without JavaScript: found by links, filled in, sent, and done."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page as Tab

from tests.console.conftest import RunningConsole, running
from tests.console.test_pages_in_browser import visit
from tests.support.databases import Database
from tests.support.outbox_world import World, workspace

REASON = "INC-7: the import was wrong"


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    yield world
    world.close()


@pytest.fixture
def own_console(database: Database, tmp_path: Path) -> Iterator[RunningConsole]:
    with running(tmp_path, DATABASE_URL=database.reactor, CONSOLE_NAME="staging") as console:
        yield console


def follow(tab: Tab, *links: str) -> None:
    for each in links:
        tab.get_by_role("link", name=each).first.click()


def give_reason_and(tab: Tab, button: str) -> None:
    tab.get_by_label("Reason").fill(REASON)
    tab.get_by_role("button", name=f"{button} in staging").click()


def test_a_person_releases_disables_enables_and_rebuilds(
    browser: Browser, own_console: RunningConsole, world: World
) -> None:
    whose = world.connect()
    for has_script in (False, True):
        world.connection.execute(
            "insert into sync_brakes (workspace_id, cause, deletes, events) values (%s, 'BURST', 1217, 1300)"
            " on conflict (workspace_id) do update set released_at = null",
            (whose,),
        )
        world.connection.execute("update sync_outbox set status = 'COMPLETED' where operation = 'REBUILD_ALL'")
        with visit(browser, own_console, java_script_enabled=has_script) as (tab, complaints):
            follow(tab, "Brakes", "look")
            tab.get_by_label("How many events would go?").fill("1,217")
            give_reason_and(tab, "Release, and delete them")
            assert tab.url == f"{own_console.url}/w/{whose}"
            assert world.one("select released_at is not null from sync_brakes")
            follow(tab, "Disable the connection")
            give_reason_and(tab, "Disable the connection")
            assert world.one("select is_valid from google_connections") is False
            follow(tab, "Enable the connection")
            give_reason_and(tab, "Enable the connection")
            assert world.one("select is_valid from google_connections") is True
            follow(tab, "What a rebuild would come to")
            tab.get_by_label("Remove each event").check()
            tab.get_by_role("button", name="See what it would come to").click()
            give_reason_and(tab, "Start the rebuild")
            assert tab.locator("h1").inner_text().startswith("Rebuild ")
            follow(tab, str(workspace()))
            assert tab.locator("#acts-title + .scroll tbody tr").count() >= 4
            assert REASON in tab.locator("#acts-title + .scroll").inner_text()
            assert complaints.said == []
    acts = [act for (act,) in world.connection.execute("select act from sync_acts order by id").fetchall()]
    assert acts == ["brake release", "connection disable", "connection enable", "rebuild"] * 2
    assert world.one("select count(distinct reason) from sync_acts") == 1
