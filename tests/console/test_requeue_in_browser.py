"""From a cause to its requeue and back in Chromium: begun without JavaScript, watched and stopped with it."""

from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.commands.test_commands_dead_letters import die
from tests.console.conftest import running
from tests.console.test_pages_in_browser import axe, visit
from tests.support.databases import Database
from tests.support.outbox_world import World as Rows

BACK = "select count(*) from sync_outbox where status = 'PENDING'"


def test_a_requeue_is_begun_watched_and_stopped(browser: Browser, database: Database, tmp_path: Path) -> None:
    rows = Rows(database)
    rows.connect()
    for number in range(200):
        die(rows, str(number), last_error="Google is away")
    die(rows, "other", last_error="Google is back")
    with running(tmp_path, DATABASE_URL=database.reactor, CONSOLE_NAME="staging") as console:
        with visit(browser, console, java_script_enabled=False) as (tab, complaints):
            tab.goto(f"{console.url}/dead")
            tab.get_by_role("link", name="forecast for EXHAUSTED, Google is away").click()
            assert tab.locator("dl").inner_text().split("\n")[0].startswith("200")
            assert "--error 'Google is away'" in tab.locator("form.act").inner_text()
            tab.get_by_label("Items a second").fill("10")
            tab.get_by_label("Reason").fill("Google is well again")
            tab.get_by_role("button", name="Put 200 back in staging").click()
            address = tab.url
            assert address.endswith("/acts/1")
            expect(tab.locator("#result")).to_contain_text("of 200")
            assert complaints.said == []
        with visit(browser, console) as (tab, complaints):
            tab.goto(address)
            before = tab.locator("progress").get_attribute("value") or ""
            expect(tab.locator("progress")).not_to_have_attribute("value", before)  # without a visit
            assert axe(tab) == ""
            tab.get_by_label("Reason").fill("that is enough")
            tab.get_by_role("button", name="Stop it in staging").click()
            expect(tab.locator("#result")).to_contain_text("stopped")
            expect(tab.locator("#stopping")).to_be_hidden()
            expect(tab.get_by_role("link", name="Go on with the rest")).to_be_visible()
            assert complaints.said == []
    result = rows.one("select result from sync_acts where id = 1")
    assert 0 < result["done"] == rows.one(BACK) < 200
    rows.close()
