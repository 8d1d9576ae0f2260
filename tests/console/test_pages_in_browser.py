"""Every page in Chromium, on a database whose every text is an attack.

In light, dark and forced colours, narrow and wide, with and without JavaScript: axe finds nothing, the policy is not
violated, nothing is logged, no dialog opens, nothing is wider than the window, and the keyboard alone reaches all.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from axe_playwright_python.base import AXE_SCRIPT, AxeResults
from playwright.sync_api import Browser, BrowserContext, Dialog, Page as Tab, Request, ViewportSize, expect

from reactor.console.visitors.door import HEADERS
from tests.console.attacks import MARKS
from tests.console.conftest import RunningConsole, running
from tests.console.examples import EXAMPLES, addresses
from tests.support.databases import Server

ADDRESSES = [*(address for _, address in addresses()), "/no/such/page"]
WIDE, NARROW = ViewportSize(width=1400, height=900), ViewportSize(width=320, height=640)
SEEN_ONLY: dict[str, Any] = {
    "resultTypes": ["violations"],
    "runOnly": ["color-contrast", "target-size", "scrollable-region-focusable"],
}
"""The rules that colours and width can break; all others hold for the page as such."""


class Complaints:
    """What a browser says against a page."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def watch(self, tab: Tab) -> None:
        tab.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        tab.on("pageerror", lambda error: self.said.append(f"error: {error}"))
        tab.on("dialog", self._dialog)
        tab.on("requestfailed", self._failed)

    def _dialog(self, dialog: Dialog) -> None:
        self.said.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def _failed(self, request: Request) -> None:
        if request.failure != "net::ERR_ABORTED":  # the page was left before its picture had come
            self.said.append(f"failed: {request.url}, {request.failure}")

    def about(self, status: int) -> list[str]:
        """Without the line that Chromium writes of every page that is none."""
        return [each for each in self.said if status < 400 or "Failed to load resource" not in each]


@contextmanager
def visit(browser: Browser, console: RunningConsole, **options: Any) -> Iterator[tuple[Tab, Complaints]]:
    """A browser's window that has come by the printed link."""
    context: BrowserContext = browser.new_context(**options)
    tab, complaints = context.new_page(), Complaints()
    complaints.watch(tab)
    tab.goto(console.links[-1])
    try:
        yield tab, complaints
    finally:
        context.close()


@pytest.fixture(scope="module")
def headings() -> dict[str, str]:
    """What each page is called where scripts run."""
    return {}


@pytest.fixture(scope="module")
def seen(browser: Browser, console: RunningConsole) -> Iterator[tuple[Tab, Complaints]]:
    with visit(browser, console, viewport=WIDE) as (tab, complaints):
        yield tab, complaints


def axe(tab: Tab, options: dict[str, Any] | None = None) -> str:
    if not tab.evaluate("'axe' in window"):
        tab.evaluate(AXE_SCRIPT)  # half a megabyte to compile: once for a page, not for each look at it
    asked = json.dumps(options or {"resultTypes": ["violations"]})
    found = AxeResults(tab.evaluate(f"axe.run({asked})"))
    return str(found.generate_report()) if found.violations_count else ""


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_in_every_look(
    seen: tuple[Tab, Complaints], console: RunningConsole, headings: dict[str, str], address: str
) -> None:
    tab, complaints = seen
    complaints.said.clear()
    tab.emulate_media(color_scheme="light", forced_colors="none")
    tab.set_viewport_size(WIDE)
    answer = tab.goto(console.url + address)
    assert answer is not None
    assert answer.status == (404 if address == "/no/such/page" else 200)
    assert all(answer.headers[name] == value for name, value in HEADERS.items())
    assert tab.title().startswith("production <b>: ")
    assert tab.locator("h1").count() == 1
    headings[address] = tab.locator("h1").inner_text()
    acts = tab.locator("form.act button.primary").all_inner_texts()
    assert [each for each in acts if not each.endswith(" in production <b>")] == [], "where it is done is said"
    assert complaints.about(answer.status) == []
    assert axe(tab) == ""
    tab.emulate_media(color_scheme="light", forced_colors="active")
    assert axe(tab, SEEN_ONLY) == "", "in forced colours"
    tab.emulate_media(color_scheme="dark", forced_colors="none")
    tab.set_viewport_size(NARROW)
    assert axe(tab, SEEN_ONLY) == "", "dark and narrow: colours do not depend on the width, nor places on the colours"
    assert tab.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "it scrolls sideways at 320 px"
    assert tab.evaluate("document.querySelectorAll('[style], [onclick], script:not([src]), style').length") == 0
    ids = tab.evaluate("[...document.querySelectorAll('[id], [data-live]')].map(e => e.id)")
    assert len(set(ids)) == len(ids), "an id twice"
    assert "" not in ids, "what is live is found by its id"
    inside = tab.evaluate(
        "[...document.querySelectorAll('*')].flatMap(e => [...e.attributes].map(a => a.value)).join(' ')"
    )
    assert not [mark for mark in MARKS if mark in inside.replace("%", "")], "an attack has become an attribute"


@pytest.mark.parametrize("address", ADDRESSES)
def test_the_keyboard_alone_reaches_everything(
    seen: tuple[Tab, Complaints], console: RunningConsole, address: str
) -> None:
    tab, _ = seen
    tab.set_viewport_size(WIDE)
    tab.goto(console.url + address)
    wanted = tab.evaluate(
        """() => [...document.querySelectorAll("a[href], button, input, select, textarea, summary, [tabindex='0']")]
            .filter(e => e.checkVisibility() && e.type !== "hidden").map((e, n) => (e.dataset.n = n))"""
    )
    tab.evaluate(
        """() => { window.reached = []; document.addEventListener("focusin", ({ target: e }) => {
            if (e.dataset.n !== undefined)
                window.reached.push([Number(e.dataset.n), getComputedStyle(e).outlineStyle !== "none"]); }); }"""
    )
    reached: list[int] = []
    for presses in (len(wanted), len(wanted) + 5):
        for _ in range(presses):
            tab.keyboard.press("Tab")
        found = tab.evaluate("window.reached")
        assert all(shown for _, shown in found), "what has the focus shows it"
        reached = [number for number, _ in found]
        if set(reached) >= set(wanted):
            break
    assert sorted(set(reached)) == wanted
    assert reached[0] == 0, "the first is the way past the menu"


@pytest.fixture(scope="module")
def plain(browser: Browser, console: RunningConsole) -> Iterator[tuple[Tab, Complaints]]:
    with visit(browser, console, java_script_enabled=False) as (tab, complaints):
        yield tab, complaints


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_without_javascript(
    plain: tuple[Tab, Complaints],
    seen: tuple[Tab, Complaints],
    console: RunningConsole,
    headings: dict[str, str],
    address: str,
) -> None:
    """It says the same, and shows no control that does nothing."""
    tab, complaints = plain
    complaints.said.clear()
    answer = tab.goto(console.url + address)
    assert answer is not None
    assert complaints.about(answer.status) == []
    if address not in headings:
        seen[0].goto(console.url + address)
        headings[address] = seen[0].locator("h1").inner_text()
    assert tab.locator("h1").inner_text() == headings[address]
    assert tab.locator("main").inner_text().strip() != ""
    assert not tab.locator("#live").is_visible()


def test_what_is_live_is_renewed_and_can_be_paused(browser: Browser, console: RunningConsole) -> None:
    """The region that has the focus is left alone. The page is changed by hand, as if it were an older look."""
    with visit(browser, console, viewport=WIDE) as (tab, complaints):
        says = tab.locator("#live-says")
        old = "document.querySelectorAll('#figures dt').forEach(e => (e.textContent = 'old'))"
        figure = tab.locator("#figures dt").first
        tab.evaluate(old)
        expect(figure).to_have_text("waiting")
        assert says.inner_text() == "Live"
        tab.locator("#live-button").click()
        assert (says.inner_text(), tab.locator("#live-button").inner_text()) == ("Paused", "Go on")
        tab.reload()
        assert says.inner_text() == "Paused", "it is remembered"
        tab.locator("#replicas .scroll").focus()
        tab.evaluate(old)
        tab.evaluate("document.querySelector('#replicas h2').textContent = 'old'")
        tab.evaluate("document.querySelector('#live-button').click()")
        expect(figure).to_have_text("waiting")
        assert tab.locator("#replicas h2").inner_text() == "old"
        assert complaints.said == []


def test_a_page_heals_when_the_database_is_back(
    browser: Browser, postgres: Server, migrated_template: str, tmp_path: Path
) -> None:
    name = postgres.create_database(migrated_template)
    try:
        with (
            running(tmp_path, DATABASE_URL=postgres.dsn(f"{name}_back")) as console,
            visit(browser, console) as (tab, _),
        ):
            expect(tab.locator("h1")).to_have_text("The database does not answer")
            assert f"{name}_back" in tab.locator("#error").inner_text()
            with postgres.session() as session:
                session.execute(f"alter database {name} rename to {name}_back".encode())
            expect(tab.locator("h1")).to_have_text("Now", timeout=60_000)
    finally:
        postgres.drop_database(name)
        postgres.drop_database(f"{name}_back")


def test_a_form_of_another_site_is_refused_and_our_own_is_not(browser: Browser, console: RunningConsole) -> None:
    """A real one, posted by a page of another origin in a browser that has the cookie."""
    with visit(browser, console) as (tab, _):
        tab.route(
            "http://evil.example/**",
            lambda route: route.fulfill(
                content_type="text/html",
                body=f"<form method=post action='{console.url}/'><input name=to value=/></form>"
                "<script>document.forms[0].submit()</script>",
            ),
        )
        with tab.expect_response(f"{console.url}/") as answered:
            tab.goto("http://evil.example/")
        assert answered.value.status == 403
        expect(tab.locator("h1")).to_have_text("Not allowed")
        with tab.expect_response(f"{console.url}/no/such/act") as ours:
            tab.goto(console.url)
            tab.evaluate(
                """() => { const form = document.createElement("form");
                    form.method = "post"; form.action = "/no/such/act";
                    document.body.append(form); form.submit(); }"""
            )
        assert ours.value.status == 404, "the console's own form is let in: its Origin is not null"
        expect(tab.locator("h1")).to_have_text("There is no such page")  # a window that is closed half-way may hang


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_page_is_a_document_too(browser: Browser, console: RunningConsole, address: str) -> None:
    """For programs; what is in it is what the database holds, and nothing in it is a page."""
    del browser  # a test of the file, where the console is
    with httpx.Client(base_url=console.url, headers={"accept": "application/json"}) as client:
        assert client.get(console.links[-1]).status_code == 303
        answer = client.get(address)
    assert answer.headers["content-type"] == "application/json; charset=utf-8"
    assert answer.status_code == (404 if address == "/no/such/page" else 200)
    assert isinstance(answer.json(), dict | list)


@pytest.mark.skipif("/find" not in EXAMPLES, reason="there is no field to go to without that page")
def test_a_key_goes_to_the_search_field_and_can_be_switched_off(browser: Browser, console: RunningConsole) -> None:
    """WCAG 2.1.4: a shortcut of one character can be turned off. In the field it is a character like any other."""
    with visit(browser, console, viewport=WIDE) as (tab, _):
        field, choice = tab.locator("#q"), tab.locator("#slash")
        tab.keyboard.press("/")
        expect(field).to_be_focused()
        tab.keyboard.type("a/b")
        expect(field).to_have_value("a/b")
        choice.uncheck()
        tab.reload()
        tab.keyboard.press("/")
        expect(field).not_to_be_focused()
        expect(choice).not_to_be_checked()


def test_nothing_that_is_served_or_logged_holds_a_key(console: RunningConsole) -> None:
    keys = [link.partition("key=")[2] for link in console.links]
    assert len(keys) > 1
    assert not [key for key in keys if key in console.log]
    assert "?" not in "".join(line for line in console.log.splitlines() if "console_request" in line)
