"""What no page can forget: asked of every route of the console, also of those that are added later."""

from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any

import httpx
import pytest
import trio
from starlette.routing import Route
from structlog.testing import capture_logs

from reactor.console.app import PAGES, ConsoleApp
from reactor.console.console import Console
from reactor.console.database import ConsoleDatabase
from reactor.console.page import NextPage, Page, PageAnswer, PageRequest, VisitorRight
from reactor.console.visitors import door
from reactor.console.visitors.access import VisitorRules
from reactor.console.visitors.keys import MOST, VisitorKeys
from reactor.console.visitors.login import LoginLimit
from reactor.desk.rights import LoginRights
from reactor.observability.server import Server
from tests.console.examples import EXAMPLES, addresses
from tests.console.test_access import PROXIED

NOWHERE = "host=127.0.0.1 port=1 dbname=none user=none"
HOME = "http://127.0.0.1:8400"
PUBLIC = "https://console.example.com"
FORM = {"sec-fetch-site": "same-origin", "origin": HOME, "content-type": "application/x-www-form-urlencoded"}
ALIVE = ("/livez",)


async def may_everything() -> LoginRights:
    return LoginRights(viewer=True, operator=True, words=True)


class Site:
    """A console without a database, as a browser meets it."""

    def __init__(self, rules: VisitorRules, pages: tuple[Page, ...]) -> None:
        self.keys = VisitorKeys(self.announced)
        self.links: list[str] = []
        console = Console(ConsoleDatabase(NOWHERE), "staging")
        console.ceiling = LoginLimit(may_everything)
        self.app = ConsoleApp(console, rules, self.keys, pages)

    def announced(self, key: str) -> None:
        self.links.append(f"/?key={key}")

    def client(self, base: str = HOME, peer: str = "127.0.0.1") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app.door, client=(peer, 1234))
        return httpx.AsyncClient(transport=transport, base_url=base)


async def tries(console: Console, asked: PageRequest) -> PageAnswer | NextPage:
    """An act that does nothing, so that there is one while no page has any."""
    del console
    return (
        NextPage("/")
        if "to" in asked.form
        else PageAnswer("error.html", {"error": "<b>no</b>", "status": 422}, status=422)
    )


async def breaks(console: Console, asked: PageRequest) -> PageAnswer:
    del console, asked
    raise KeyError("a secret in an unexpected error")


async def hangs(console: Console, asked: PageRequest) -> PageAnswer:
    del console, asked
    await trio.sleep_forever()
    raise AssertionError


TRIED = (
    *PAGES,
    Page("/tried/act", "An act", act=tries),
    Page("/tried/words", "Words", act=tries, needs=VisitorRight.READ_WORDS),
    Page("/tried/open", "Open", show=tries, act=tries, needs=VisitorRight.NONE, is_open=True),
    Page("/tried/broken", "Broken", show=breaks),
    Page("/tried/slow", "Slow", show=hangs),
)


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[MutableMapping[str, Any]]]:
    """The lines of the log."""
    with capture_logs() as lines:
        yield lines


@pytest.fixture
async def site() -> Site:
    site = Site(VisitorRules(), TRIED)
    site.keys.renew()
    return site


@pytest.fixture
async def known(site: Site) -> AsyncIterator[httpx.AsyncClient]:
    """A browser that has come by the link."""
    async with site.client() as client:
        assert (await client.get(site.links[-1])).status_code == 303
        yield client


@pytest.fixture
async def proxied() -> Site:
    return Site(PROXIED, TRIED)


def paths(site: Site, *methods: str) -> Iterator[tuple[str, str]]:
    """Every route of the application with its methods, and one path that is none."""
    for route in site.app.routes:
        assert isinstance(route, Route)
        for address in EXAMPLES.get(route.path, (route.path,)):
            yield from ((method, address) for method in methods or ("GET", "HEAD", "POST"))
    yield from ((method, "/no/such/page") for method in methods or ("GET", "HEAD", "POST"))


def is_open(path: str) -> bool:
    """Without an account: these, and no page that is added later."""
    return path in ALIVE or path.startswith(("/assets/", "/connect/")) or path == "/tried/open"


def test_every_page_has_an_example() -> None:
    """Add a row to `tests.console.examples.EXAMPLES` for a new page: then it is tested with all others."""
    assert {page.path for page in PAGES} == set(EXAMPLES)
    assert len(list(addresses())) >= len(PAGES)


async def test_a_foreign_host_is_refused(site: Site, known: httpx.AsyncClient) -> None:
    for method, path in paths(site):
        for host in ("evil.example", "evil.example:8400", "127.0.0.1.evil.example:8400"):
            answer = await known.request(method, path, headers={**FORM, "host": host})
            assert answer.status_code == 400, (method, path, host)


async def test_an_act_without_every_proof_of_its_form_is_refused(site: Site, known: httpx.AsyncClient) -> None:
    wrong = [{name: value for name, value in FORM.items() if name != absent} for absent in ("sec-fetch-site", "origin")]
    wrong += [{**FORM, "sec-fetch-site": each} for each in ("cross-site", "same-site", "none", "null", "")]
    wrong += [{**FORM, "origin": each} for each in ("null", "http://evil.example", "http://127.0.0.1:1", "")]
    for _, path in paths(site, "POST"):
        for headers in wrong:
            answer = await known.post(path, content="to=/", headers=headers)
            assert answer.status_code == 403, (path, headers)
    assert (await known.post("/tried/act", content="to=/", headers=FORM)).status_code == 303


async def test_without_the_cookie_nothing_but_the_open_is_shown(site: Site, known: httpx.AsyncClient) -> None:
    del known  # its link is used
    async with site.client() as stranger:
        stranger.cookies.set("console-8400", "x" * 43)
        for method, path in paths(site):
            spoofed = {**FORM, "x-forwarded-email": "root@example.com", "x-forwarded-groups": "sre"}
            answer = await stranger.request(method, path, headers=spoofed)
            assert (answer.status_code == 401) != is_open(path), (method, path)


async def test_a_proxys_headers_from_another_address_are_worth_nothing(proxied: Site) -> None:
    said = {**FORM, "origin": PUBLIC, "x-forwarded-email": "root@example.com", "x-forwarded-groups": "sre"}
    async with proxied.client(PUBLIC, "10.9.9.9") as stranger, proxied.client(PUBLIC, "10.1.2.3") as proxy:
        for method, path in paths(proxied):
            answer = await stranger.request(method, path, headers=said)
            assert (answer.status_code == 401) != is_open(path), (method, path)
            nameless = await proxy.request(method, path, headers={**FORM, "origin": PUBLIC})
            assert (nameless.status_code == 401) != is_open(path), (method, path)
        assert (await proxy.post("/tried/act", content="to=/", headers=said)).status_code == 303


async def test_who_may_only_look_cannot_act(proxied: Site) -> None:
    said = {**FORM, "origin": PUBLIC, "x-forwarded-email": "dev@example.com", "x-forwarded-groups": "dev"}
    acts = [page for page in TRIED if page.act and page.needs is not VisitorRight.NONE]
    assert len(acts) > 1
    async with proxied.client(PUBLIC, "10.1.2.3") as proxy:
        for page in acts:
            for address in EXAMPLES.get(page.path, (page.path,)):
                answer = await proxy.post(address, content="to=/", headers=said)
                assert answer.status_code == 403, address
        support = {**said, "x-forwarded-groups": "support"}
        assert (await proxy.post("/tried/words", content="to=/", headers=support)).status_code == 303
        assert (await proxy.post("/tried/act", content="to=/", headers=support)).status_code == 403


async def test_every_answer_has_the_headers(
    site: Site, known: httpx.AsyncClient, autojump_clock: trio.abc.Clock
) -> None:
    """Of each route and each way to refuse one; the database of this console is away, so its pages say so."""
    del autojump_clock  # the slow page is given up at once
    seen = set()
    async with site.client() as stranger:
        for client in (known, stranger):
            for method, path in (
                *paths(site),
                ("PUT", "/"),
                ("OPTIONS", "*"),
                ("GET", "/%00%ff"),
                ("GET", "//evil.example"),
            ):
                for headers in ({}, FORM, {**FORM, "content-type": "text/plain"}, {"host": "evil.example"}):
                    answer = await client.request(method, path, headers=headers)
                    seen.add(answer.status_code)
                    for name, value in door.HEADERS.items():
                        assert answer.headers.get_list(name) == [value], (method, path, name)
                    kept = path.startswith("/assets/") and answer.status_code == 200
                    assert ("immutable" if kept else "no-store") in answer.headers["cache-control"]
                    assert "server" not in answer.headers
    assert seen >= {200, 400, 401, 403, 404, 405, 415, 422, 500, 503}


@pytest.mark.parametrize(
    "malformed",
    [b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"<script>\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000],
)
async def test_what_is_no_request_is_answered_with_nothing(site: Site, nursery: trio.Nursery, malformed: bytes) -> None:
    """The protocol answers itself, without our headers: so there must be nothing that they would protect."""
    url = await nursery.start(Server(site.app.door).run, "127.0.0.1", 0, trio.Event())
    stream = await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2]))
    async with stream:
        await stream.send_all(malformed)
        answer = b"".join([piece async for piece in stream])
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] in (b"400", b"431")
    assert body == b""
    names = {line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:]}
    assert names == {b"content-length", b"connection", b"date"}


def test_the_policy_lets_nothing_in_from_outside() -> None:
    allowed = dict(each.split(" ", 1) for each in door.POLICY.split("; "))
    assert allowed["default-src"] == allowed["frame-ancestors"] == allowed["base-uri"] == "'none'"
    assert {value for name, value in allowed.items() if name.endswith(("-src", "-action"))} == {"'none'", "'self'"}
    assert allowed["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in door.POLICY


async def test_a_key_is_good_once_and_another_takes_its_place(site: Site) -> None:
    [link] = site.links
    async with site.client() as first, site.client() as second:
        exchanged = await first.get(link)
        assert (exchanged.status_code, exchanged.headers["location"]) == (303, "/")
        cookie = exchanged.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert (await second.get(link)).status_code == 401
        assert len(site.links) == 2
        assert (await second.get(site.links[1])).status_code == 303
        assert (await first.get("/tried/open")).status_code == (await second.get("/tried/open")).status_code == 422
        assert (await first.get("/no")).status_code == (await second.get("/no")).status_code == 404
    for wrong in ("/?key=", "/?key=x", f"{link}x", "/?key=%ff"):
        async with site.client() as third:
            assert (await third.get(wrong)).status_code == 401, wrong


async def test_a_cookie_of_another_console_on_this_machine_is_no_matter(site: Site) -> None:
    async with site.client() as client:
        value = (await client.get(site.links[-1])).headers["set-cookie"].partition("=")[2].partition(";")[0]
        client.cookies.clear()
        for said, status in (
            (f"console-9000=x; console-8400={value}", 404),
            (f"console-8400=x; console-8400={value}", 404),
            (f"console-9000={value}", 401),
            (f"console-8400={value}x", 401),
        ):
            assert (await client.get("/no", headers={"cookie": said})).status_code == status


def test_the_oldest_browser_gives_way() -> None:
    links: list[str] = []
    keys = VisitorKeys(links.append)
    keys.renew()
    cookies = [keys.exchange(links[-1]) for _ in range(MOST + 1)]
    assert [keys.knows(cookie or "") for cookie in cookies] == [False] + [True] * MOST
    assert keys.exchange("") is None


async def test_a_key_leads_to_no_other_site(site: Site) -> None:
    async with site.client() as client:
        answer = await client.get(f"{HOME}//evil.example/{site.links[0][1:]}")
    assert (answer.status_code, answer.headers["location"]) == (303, "/evil.example/")


async def test_no_key_is_taken_behind_a_proxy(proxied: Site) -> None:
    proxied.keys.renew()
    async with proxied.client(PUBLIC, "10.1.2.3") as client:
        assert (await client.get(proxied.links[-1])).status_code == 401


async def test_a_body_is_bounded(site: Site, nursery: trio.Nursery) -> None:
    """On a real connection, with its length said before and without, and the next request is answered."""
    url = await nursery.start(Server(site.app.door).run, "127.0.0.1", 0, trio.Event())
    form = {**FORM, "origin": url}

    async def pieces(content: bytes) -> AsyncIterator[bytes]:
        for begin in range(0, len(content), 1_000):
            yield content[begin : begin + 1_000]

    most = door.LONGEST_BODY
    async with httpx.AsyncClient(base_url=url) as client:
        await client.get(site.links[-1])
        for size, status in ((most, 303), (most + 1, 413), (60_000, 413)):
            content = b"to=/".ljust(size, b"x")
            for sent in (content, pieces(content)):
                assert (await client.post("/tried/act", content=sent, headers=form)).status_code == status
        assert (await client.request("GET", "/no", content=b"x" * (most + 1))).status_code == 413
        for unreadable, status in (("&".join(["a=1"] * 201), 400), ("%ff=1&to=/", 400), ("", 422)):
            assert (await client.post("/tried/act", content=unreadable, headers=form)).status_code == status


async def test_an_error_says_no_details(known: httpx.AsyncClient, lines: list[MutableMapping[str, Any]]) -> None:
    for path, status in (("/tried/broken", 500), ("/no/such/page", 404), ("/tried/act", 405)):
        for accept in ("text/html", "application/json"):
            answer = await known.get(path, headers={"accept": accept})
            assert answer.status_code == status
            assert "secret" not in answer.text
            assert "KeyError" not in answer.text
            assert "<h1>" in answer.text or set(answer.json()) == {"error", "status"}
    assert sum(line["event"] == "console_page_failed" for line in lines) == 2


async def test_a_page_that_takes_too_long_is_given_up(known: httpx.AsyncClient, autojump_clock: trio.abc.Clock) -> None:
    del autojump_clock
    answer = await known.get("/tried/slow")
    assert answer.status_code == 503
    assert "Narrow it" in answer.text


async def test_a_database_that_is_away_is_said_on_every_page(known: httpx.AsyncClient) -> None:
    for _, address in addresses():
        answer = await known.get(address)
        if answer.status_code != 200:  # a page may do without
            assert answer.status_code == 503, address
            assert "Cannot connect to the database" in answer.text


async def test_the_access_log_has_the_path_and_no_query(
    known: httpx.AsyncClient, lines: list[MutableMapping[str, Any]]
) -> None:
    await known.get("/no/page?q=hidden-words&key=hidden-key", headers={"referer": f"{HOME}/?q=hidden-words"})
    [said] = [line for line in lines if line["event"] == "console_request" and line["path"] == "/no/page"]
    assert (said["method"], said["status"]) == ("GET", 404)
    assert "hidden" not in str(lines)


async def test_what_an_act_leads_to_is_a_page_of_ours(known: httpx.AsyncClient) -> None:
    from reactor.console import app  # noqa: PLC0415

    for elsewhere in ("//evil.example", "https://evil.example", "/\\evil.example", "evil"):
        with pytest.raises(ValueError, match="page of the console"):
            app._see_other(elsewhere)
    assert (await known.post("/tried/act", content="to=/", headers=FORM)).headers["location"] == "/"


async def test_what_a_page_says_is_escaped_and_cleaned(known: httpx.AsyncClient) -> None:
    answer = await known.post("/tried/act", content="", headers=FORM)
    assert "&lt;b&gt;no&lt;/b&gt;" in answer.text
    assert "<b>" not in answer.text
