"""Invitations over HTTP, with the emulator's consent: one link, one browser, one calendar, once."""

import html
import re
import shlex
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID

import httpx
import psycopg
import pytest
import trio
from structlog.testing import capture_logs

from reactor.console.shared.asked_consents import MOST, SECONDS, AskedConsents
from reactor.google.consent import ConsentQuestion
from reactor.token_encryption import TokenCipher
from tests.console.open_site import OpenSite, open_site
from tests.support.commands import call_beside, settings_of
from tests.support.databases import Database
from tests.support.google_fixtures import USER, GoogleServer
from tests.support.process_world import KEYS

WORKSPACE = UUID(int=7)
INVITE = f"/connections/{WORKSPACE}/invite"
OTHER = "eve@example.com"
TEAM = "team@group.calendar.google.com"


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as lines:
        yield lines


@pytest.fixture
async def site(google: GoogleServer, database: Database, nursery: trio.Nursery) -> AsyncIterator[OpenSite]:
    given = {
        "database_url": database.reactor,
        "token_encryption_keys": KEYS,
        **{name.lower(): value for name, value in settings_of(google).items()},
    }
    google.emulator.add_user(OTHER)
    async with open_site(nursery, database.reactor, given=given) as site:
        yield site


async def invited(site: OpenSite, calendar: str = USER) -> str:
    """Make an invitation; return its path."""
    said = await site.document(INVITE, {"calendar": calendar, "reason": "INC-7"})
    assert said["link"].startswith(f"{site.url}/connect/")
    return str(said["link"]).removeprefix(site.url)


class Guest:
    """A person without an account, in a browser of their own."""

    def __init__(self, site: OpenSite, client: httpx.AsyncClient) -> None:
        self.site, self.client = site, client

    async def asks(self, path: str) -> str:
        """Follow a link and press its button; return the address of Google's page."""
        landing = await self.client.get(path)
        assert landing.status_code == 200, landing.text
        assert "Connect this calendar" in landing.text
        ours = {"sec-fetch-site": "same-origin", "origin": self.site.url}
        form = {"content-type": "application/x-www-form-urlencoded"}
        pressed = await self.client.post(path, content="", headers={**ours, **form})
        assert pressed.status_code == 200, pressed.text
        [url] = re.findall(r'href="(http[^"]*/auth[^"]*)"', pressed.text)
        return str(url).replace("&amp;", "&")

    async def consents(self, url: str, account: str = USER) -> str:
        """Consent at Google; return where it sends the browser."""
        async with httpx.AsyncClient() as google:
            answer = await google.get(f"{url}&login_hint={account}")  # the last one counts: the person chooses
        assert answer.status_code in (302, 303), answer.text
        return str(answer.headers["location"])


@asynccontextmanager
async def guest(site: OpenSite) -> AsyncIterator[Guest]:
    async with httpx.AsyncClient(base_url=site.url, timeout=30) as client:
        yield Guest(site, client)


def rows(database: Database, statement: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        cursor = owner.execute(statement.encode())
        return cursor.fetchall() if cursor.description else []


def stored(database: Database) -> list[tuple[Any, ...]]:
    return rows(database, "select workspace_id, calendar_id, is_valid, refresh_token_encrypted from google_connections")


async def test_a_guest_connects_a_calendar(
    site: OpenSite, database: Database, google: GoogleServer, lines: list[MutableMapping[str, Any]]
) -> None:
    path = await invited(site)
    async with guest(site) as person:
        landing = await person.client.get(path)
        assert USER in landing.text
        assert str(WORKSPACE) in landing.text
        assert "ada asks you" in landing.text
        assert 'aria-label="Pages"' not in landing.text, "the menu is not a stranger's"
        url = await person.asks(path)
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        assert query["redirect_uri"] == f"{site.url}/connect/done"
        assert (query["code_challenge_method"], query["prompt"]) == ("S256", "consent")
        assert query["login_hint"] == USER
        [cookie] = person.client.cookies.jar
        assert (cookie.name, cookie.path, cookie.has_nonstandard_attr("HttpOnly")) == (
            "console-connect",
            "/connect",
            True,
        )
        back = await person.consents(url)
        done = await person.client.get(back)
        assert (done.status_code, "Thank you" in done.text) == (200, True)
        assert not list(person.client.cookies.jar)

        for again in (back, path):
            assert (await person.client.get(again)).status_code == 422, "once"
    [(workspace, calendar, valid, token)] = stored(database)
    assert (workspace, calendar, valid) == (WORKSPACE, USER, True)
    assert TokenCipher.from_setting(KEYS).decrypt(WORKSPACE, token).startswith("1//")
    acts = rows(database, "select who, act, reason, target ->> 'calendar', workspace_id from sync_acts order by id")
    assert acts == [
        ("ada", "invite", "INC-7", USER, WORKSPACE),
        ("invited by ada", "connect", "an invitation was followed", USER, WORKSPACE),
    ]
    secret = path.rpartition("/")[2]
    kept = rows(
        database,
        "select to_jsonb(i)::text from sync_invitations as i union all select to_jsonb(a)::text from sync_acts as a",
    )
    assert secret not in str(kept)
    assert secret not in str(lines), "the log has no link"
    assert {"/connect/…", "/connect/done"} <= {line.get("path") for line in lines}
    listed = await site.client.get(INVITE)
    assert secret not in listed.text
    assert "used" in listed.text


async def test_an_answer_counts_in_the_browser_that_asked_and_once(site: OpenSite, database: Database) -> None:
    path = await invited(site)
    async with guest(site) as person, guest(site) as stranger:
        back = await person.consents(await person.asks(path))
        assert (await stranger.client.get(back)).status_code == 422, "another browser"
        await stranger.asks(path)
        assert (await stranger.client.get(back)).status_code == 422, "one with a cookie of its own"
        assert "Thank you" not in (await person.client.get("/connect/done?state=&code=x")).text
        assert (await person.client.get("/connect/done?state=x&code=x")).status_code == 422
        assert stored(database) == []
        assert (await person.client.get(back)).status_code == 200
        assert (await person.client.get(back)).status_code == 422, "a replay"
    assert len(stored(database)) == 1


async def test_another_calendar_is_not_connected(site: OpenSite, database: Database, google: GoogleServer) -> None:
    google.emulator.share(TEAM, USER, "owner")
    path = await invited(site, TEAM)
    async with guest(site) as person:
        wrong = await person.client.get(await person.consents(await person.asks(path), OTHER))
        assert wrong.status_code == 422
        assert "does not know this calendar" in wrong.text
        assert f'href="{path}"' in wrong.text, "it can be done again"
        google.emulator.share(TEAM, OTHER, "reader")
        reads = await person.client.get(await person.consents(await person.asks(path), OTHER))
        assert "may read this calendar and not change it" in reads.text
        assert stored(database) == []
        assert (await person.client.get(await person.consents(await person.asks(path), USER))).status_code == 200
    [(_, calendar, _, _)] = stored(database)
    assert calendar == TEAM


async def test_one_that_is_good_no_longer_is_refused(site: OpenSite, database: Database) -> None:
    """At each step: the page, its button, and Google's answer."""
    ours = {"sec-fetch-site": "same-origin", "origin": site.url, "content-type": "application/x-www-form-urlencoded"}

    async def revoke() -> None:
        [id_] = [each["id"] for each in await site.document(INVITE) if each["state"] == "good"]
        assert (await site.post(INVITE, revoke=id_)).status_code == 422, "without a reason"
        assert (await site.post(INVITE, revoke=id_, reason="wrong person")).status_code == 303
        assert (await site.post(INVITE, revoke=id_, reason="again")).status_code == 422

    async def expire() -> None:
        rows(database, "update sync_invitations set expires_at = clock_timestamp()")

    async def use() -> None:
        async with guest(site) as other:
            assert (await other.client.get(await other.consents(await other.asks(path)))).status_code == 200

    for end, said in ((revoke, "was taken back"), (expire, "has expired"), (use, "was used before")):
        path = await invited(site)
        async with guest(site) as person:
            back = await person.consents(await person.asks(path))
            await end()
            before = stored(database)
            for answer in (
                await person.client.get(path),
                await person.client.post(path, content="", headers=ours),
                await person.client.get(back),
            ):
                assert (answer.status_code, said in answer.text) == (422, True), answer.text
            assert stored(database) == before
    states = {each["state"] for each in await site.document(INVITE)}
    assert "good" not in states
    for none in ("/connect/none", "/connect/" + "A" * 43, "/connect/%00", "/connect/" + "é" * 43):
        assert (await site.client.get(none)).status_code == 422, none


async def test_two_answers_at_once_are_one_connection(site: OpenSite, database: Database) -> None:
    path = await invited(site)
    statuses: list[int] = []
    async with guest(site) as one, guest(site) as two:
        answers = [(each, await each.consents(await each.asks(path))) for each in (one, two)]

        async def finish(person: Guest, back: str) -> None:
            statuses.append((await person.client.get(back)).status_code)

        async with trio.open_nursery() as nursery:
            for each in answers:
                nursery.start_soon(finish, *each)
    assert sorted(statuses) == [200, 422]
    assert rows(database, "select count(*) from sync_acts where act = 'connect'") == [(1,)]


async def test_a_refusal_at_google_is_said(site: OpenSite, database: Database, google: GoogleServer) -> None:
    path = await invited(site)
    async with guest(site) as person:
        google.emulator.settings.deny_consent = True
        denied = await person.client.get(await person.consents(await person.asks(path)))
        assert "Consent was denied" in denied.text
        google.emulator.settings.deny_consent = False
        url = await person.asks(path)
        broken = (await person.consents(url)).replace("code=", "code=x")
        assert (await person.client.get(broken)).status_code == 422
    assert stored(database) == []


@pytest.mark.parametrize("calendar", ["primary", "PRIMARY", "", " ", "a b", "..", "x" * 2_000])
async def test_a_calendar_has_to_be_named(site: OpenSite, database: Database, calendar: str) -> None:
    refused = await site.post(INVITE, calendar=calendar, reason="x")
    assert refused.status_code == 422
    assert rows(database, "select count(*) from sync_invitations") == [(0,)]


async def test_the_command_of_the_page_does_the_same(site: OpenSite, database: Database, google: GoogleServer) -> None:
    """Pasted into a shell; the link is followed on the console, once, and another one is taken back."""
    weird = "o'hara;$(id)@example.com"
    google.emulator.add_user(weird)

    async def shown(verb: str) -> list[str]:
        page = html.unescape((await site.client.get(INVITE)).text)
        [command] = {each for each in re.findall("<code>(.*?)</code>", page) if f" {verb} " in each}
        start = ["python", "-m", "reactor", "invitations", verb]
        words = shlex.split(command)
        assert words[:5] == start
        return words[3:]

    unknown = await shown("make")
    assert unknown[unknown.index("--calendar") + 1] == "…"
    refused = await call_beside(google, database.reactor, *unknown)
    assert (refused.exit_code, "names its calendar" in refused.stderr) == (2, True), refused.output

    columns, doubled = "workspace_id, refresh_token_encrypted, calendar_id", weird.replace("'", "''")
    rows(database, f"insert into google_connections ({columns}) values ('{WORKSPACE}', '', '{doubled}')")
    made = await call_beside(google, database.reactor, *await shown("make"))
    assert made.stdout.startswith(f"{site.url}/connect/"), made.output
    path = made.stdout.strip().removeprefix(site.url)
    async with guest(site) as person:
        assert (await person.client.get(await person.consents(await person.asks(path), weird))).status_code == 200
        assert (await person.client.get(path)).status_code == 422, "once"
        again = await call_beside(google, database.reactor, *await shown("make"))
        gone = again.stdout.strip().removeprefix(site.url)
        assert (await call_beside(google, database.reactor, *await shown("revoke"))).exit_code == 0
        assert "was taken back" in (await person.client.get(gone)).text
    [(_, calendar, valid, _)] = stored(database)
    assert (calendar, valid) == (weird, True)


async def test_a_workspace_that_was_never_connected_leads_to_an_invitation(site: OpenSite, database: Database) -> None:
    rows(
        database,
        f"insert into sync_outbox (workspace_id, operation, payload) values ('{WORKSPACE}', 'UPSERT_EVENT', '{{}}')",
    )
    assert f'href="{INVITE}"' in (await site.client.get(f"/w/{WORKSPACE}")).text


async def test_only_an_operator_with_the_secret_invites(database: Database, nursery: trio.Nursery) -> None:
    async with open_site(nursery, database.reactor) as site:
        asked = await site.client.get(INVITE)
        assert "neither Google" in asked.text
        assert f"python -m reactor connect --workspace {WORKSPACE}" in asked.text
        assert (await site.post(INVITE, calendar=USER, reason="x")).status_code == 422
    async with open_site(nursery, database.reactor, may_act=False) as site:
        assert (await site.post(INVITE, calendar=USER, reason="x")).status_code == 403
    assert rows(database, "select count(*) from sync_invitations") == [(0,)]


def test_the_oldest_question_gives_way_and_each_has_its_time() -> None:
    asked = AskedConsents()

    def question(n: int) -> ConsentQuestion:
        return ConsentQuestion("https://x", "https://y", state=f"state {n}", verifier="v")

    cookies = [asked.ask(str(n), question(n), now=0.0) for n in range(MOST + 1)]
    assert asked.take("state 0", cookies[0], now=1.0) is None
    assert asked.take("state 1", cookies[2], now=1.0) is None
    assert asked.take("state 1", cookies[1], now=float(SECONDS)) is None
    found = asked.take("state 1", cookies[1], now=SECONDS - 1.0)
    assert found is not None
    assert found.invitation == "1"
    assert asked.take("state 1", cookies[1], now=1.0) is None
    assert "state" not in repr(found)
    assert cookies[1] not in repr(found)
