"""Tokens over the wire: google-auth in its thread, the emulator's token endpoint, and worse ones."""

import json
import logging
import subprocess
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, cast
from urllib.parse import parse_qs

import google.auth._helpers  # the clock that google-auth looks at; there is no public way to shift it
import httpx
import pytest
import trio
from google.auth import crypt, exceptions
from trio.testing import wait_all_tasks_blocked

from calendar_emulator import EVENTS_SCOPE, Fault
from calendar_emulator.oauth.errors import ERRORS
from reactor.core.calendar.token_answers import (
    BROKEN,
    NO_ANSWER,
    NO_THREAD,
    UNREACHABLE,
    AccessToken,
    Answer,
    GrantType,
    refusal,
)
from reactor.core.outcome import Dead, Retry, Scope
from reactor.google import token_exchange
from reactor.google.token_exchange import Account, TokenExchange, user_account
from reactor.google.tokens import Rotated, TokenSource, TokenUnavailable
from tests.google.test_tokens import WORKSPACE, together
from tests.support import key_files
from tests.support.google_fixtures import USER, GoogleServer

Handler = Callable[[httpx.Request], Coroutine[None, None, httpx.Response]]
ROBOT = "robot@project.iam.gserviceaccount.com"


@pytest.fixture
async def exchange() -> AsyncIterator[TokenExchange]:
    async with httpx.AsyncClient() as client:
        with trio.fail_after(30):
            yield TokenExchange(client)


@pytest.fixture
def rotations() -> list[tuple[str, str]]:
    return []


@pytest.fixture
def source(
    google: GoogleServer, exchange: TokenExchange, nursery: trio.Nursery, rotations: list[tuple[str, str]]
) -> TokenSource:
    async def store(rotated: Rotated) -> None:
        await trio.lowlevel.checkpoint()
        rotations.append((rotated.used, rotated.new))

    return TokenSource(WORKSPACE, person(google), exchange.refresh, store, nursery)


def person(google: GoogleServer) -> Account:
    return user_account(
        google.refresh_token,
        client_id=google.client_id,
        client_secret=google.client_secret,
        token_uri=google.token_uri,
    )


def robot(
    google: GoogleServer,
    *,
    subject: str | None = USER,
    delegated: tuple[str, ...] = (EVENTS_SCOPE,),
    email: str = ROBOT,
) -> Account:
    document = google.emulator.add_service_account(ROBOT, delegated=delegated)
    return key_files.robot(document, subject).account(google.token_uri)


def refreshes(google: GoogleServer) -> int:
    return google.emulator.log.count(operation="token")


async def asked(handler: Handler, account: Account | None = None, **options: int) -> Answer:
    """What comes of one exchange with an endpoint of the test's own."""
    account = account or user_account("1//r", client_id="c", client_secret="s")
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
        with trio.fail_after(30):
            return await TokenExchange(client, **options).refresh(account)


def answering(
    status: int, content: bytes, headers: Mapping[str, str] | None = None
) -> tuple[Handler, list[httpx.Request]]:
    requests: list[httpx.Request] = []

    async def handler(request: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        requests.append(request)
        return httpx.Response(status, content=content, headers=headers)

    return handler, requests


# A person's token


async def test_twenty_callers_are_one_refresh_and_the_token_works(google: GoogleServer, source: TokenSource) -> None:
    tokens = await together(20, source.token)
    assert len(set(tokens)) == 1
    assert refreshes(google) == 1
    assert google.emulator.oauth.check(str(tokens[0]), google.emulator.clock()) is not None


async def test_twenty_reports_of_a_401_are_one_refresh(google: GoogleServer, source: TokenSource) -> None:
    old = await source.token()
    google.emulator.oauth.expire_access_tokens()
    new = await together(20, lambda: source.token(old))
    assert len({*new, old}) == 2
    assert refreshes(google) == 2


async def test_a_rotated_refresh_token_is_used_and_stored(
    google: GoogleServer, source: TokenSource, rotations: list[tuple[str, str]]
) -> None:
    google.emulator.settings.rotate = True  # the old one is dead at once
    for _ in range(3):
        await source.token(await source.token())
    await wait_all_tasks_blocked()
    used, new = zip(*rotations, strict=True)
    assert used == (google.refresh_token, *new[:-1])
    assert len(rotations) == refreshes(google) == 4


async def test_the_form_is_what_the_endpoint_documents() -> None:
    handler, requests = answering(200, b'{"access_token":"a"}')
    assert await asked(handler) == AccessToken("a", 3600)
    assert parse_qs(requests[0].content.decode()) == {
        "grant_type": ["refresh_token"],
        "refresh_token": ["1//r"],
        "client_id": ["c"],
        "client_secret": ["s"],
    }


@pytest.mark.parametrize("hours", [-1, 1])
async def test_a_clock_that_is_off_by_an_hour_costs_no_refresh(
    google: GoogleServer, source: TokenSource, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    now = google_now()
    token = await source.token()
    monkeypatch.setattr(google_auth_helpers(), "utcnow", lambda: now() + timedelta(hours=hours))  # it jumps
    assert await source.token() == token
    assert await source.token(token) != token  # and stays wrong
    assert await source.token(token) != token
    assert refreshes(google) == 2


def google_auth_helpers() -> Any:
    return google.auth._helpers


def google_now() -> Callable[[], Any]:
    return cast("Callable[[], Any]", google_auth_helpers().utcnow)


# Delegation


async def test_a_service_account_acts_for_a_user(google: GoogleServer, exchange: TokenExchange) -> None:
    answer = await exchange.refresh(robot(google))
    assert isinstance(answer, AccessToken)
    access = google.emulator.oauth.check(answer.access_token, google.emulator.clock())
    assert access is not None
    assert (access.email, access.bare_service_account) == (USER, False)


async def test_a_service_account_without_delegation_ends_the_connection(
    google: GoogleServer, exchange: TokenExchange
) -> None:
    answer = await exchange.refresh(robot(google, delegated=()))
    assert isinstance(answer, Dead)
    assert answer.connection_invalid


async def test_a_user_who_does_not_exist_ends_the_connection(google: GoogleServer, exchange: TokenExchange) -> None:
    answer = await exchange.refresh(robot(google, subject="nobody@example.com"))
    assert isinstance(answer, Dead)
    assert answer.connection_invalid


async def test_a_service_account_acts_as_itself(google: GoogleServer, exchange: TokenExchange) -> None:
    answer = await exchange.refresh(robot(google, subject=None, delegated=()))
    assert isinstance(answer, AccessToken)
    access = google.emulator.oauth.check(answer.access_token, google.emulator.clock())
    assert access is not None
    assert (access.email, access.bare_service_account) == (ROBOT, True)


async def test_an_assertion_is_signed_in_the_thread(
    google: GoogleServer, exchange: TokenExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is signed there holds up nobody here."""
    signed: list[threading.Thread] = []
    real = crypt.RSASigner.sign

    def sign(signer: Any, message: bytes) -> Any:
        signed.append(threading.current_thread())
        return real(signer, message)

    monkeypatch.setattr(crypt.RSASigner, "sign", sign)
    assert isinstance(await exchange.refresh(robot(google)), AccessToken)
    assert len(signed) == 1
    assert threading.current_thread() not in signed


@pytest.mark.parametrize("hours", [-2, 2])
async def test_a_wrong_clock_holds_the_workspace_and_blames_nobody(
    google: GoogleServer, exchange: TokenExchange, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    now = google_now()
    monkeypatch.setattr(google_auth_helpers(), "utcnow", lambda: now() + timedelta(hours=hours))
    answer = await exchange.refresh(robot(google))
    assert isinstance(answer, Retry)
    assert (answer.scope, answer.counts, answer.outage) == (Scope.LANE, False, False)
    assert "clock" in answer.reason


@pytest.mark.parametrize("change", ["replaced", "disabled", "deleted"])
async def test_a_service_account_that_is_no_more_ends_the_connection(
    google: GoogleServer, exchange: TokenExchange, change: str
) -> None:
    account, known = robot(google), google.emulator.oauth.service_accounts.known
    if change == "replaced":
        robot(google)
    elif change == "disabled":
        known[ROBOT].disabled = True
    else:
        del known[ROBOT]
    answer = await exchange.refresh(account)
    assert isinstance(answer, Dead)
    assert answer.connection_invalid
    assert "key" in answer.reason if change == "replaced" else "deleted or disabled" in answer.reason


# Refusals and worse


@pytest.mark.parametrize("error", [name for name, (status, _) in ERRORS.items() if status < 429])
async def test_an_error_of_the_endpoint_arrives_as_its_outcome(
    google: GoogleServer, exchange: TokenExchange, error: str
) -> None:
    google.emulator.fault(Fault(operation="token", effect="error", reason=error))
    answer = await exchange.refresh(person(google))
    assert answer == refusal(error)


@pytest.mark.parametrize("error", ["rate_limit_exceeded", "internal_failure", "temporarily_unavailable"])
async def test_google_auth_does_not_try_again_on_its_own(
    google: GoogleServer, exchange: TokenExchange, error: str
) -> None:
    google.emulator.fault(Fault(operation="token", effect="error", reason=error, retry_after="7"))
    answer = await exchange.refresh(person(google))
    assert isinstance(answer, Retry)
    assert answer.after == 7
    assert refreshes(google) == 1


@pytest.mark.parametrize(
    ("date", "after"),
    [
        ("Tue, 01 Dec 2026 08:59:30 GMT", 30.0),
        ("Tue, 01 Dec 2026 08:59:30 -0000", 30.0),
        ("Tue, 01 Dec 2026 09:00:01 GMT", 0.0),
    ],
)
async def test_a_date_to_wait_for_is_read_by_the_clock_of_the_answer(date: str, after: float) -> None:
    """Ours may be off by an hour."""
    headers = {"retry-after": "Tue, 01 Dec 2026 09:00:00 GMT", "date": date}
    answer = await asked(answering(429, b"{}", headers)[0])
    assert isinstance(answer, Retry)
    assert answer.after == after


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}, {"date": "Tue, 99 Dec 9999 25:61:61 +9999"}])
async def test_an_answer_without_a_clock_is_read_by_ours(headers: dict[str, str]) -> None:
    soon = format_datetime(datetime.now(UTC) + timedelta(seconds=100))
    answer = await asked(answering(429, b"{}", {**headers, "retry-after": soon})[0])
    assert isinstance(answer, Retry)
    assert answer.after is not None
    assert 50 < answer.after <= 100


async def test_nor_for_an_internal_failure_with_status_400() -> None:
    handler, requests = answering(400, b'{"error":"internal_failure"}')
    answer = await asked(handler)
    assert isinstance(answer, Retry)
    assert len(requests) == 1


async def test_a_page_of_html_is_an_outage(google: GoogleServer, exchange: TokenExchange) -> None:
    google.emulator.fault(Fault(operation="token", effect="html", status=400))
    assert await exchange.refresh(person(google)) == BROKEN


@pytest.mark.parametrize("effect", ["drop", "truncate", "length", "malformed"])
async def test_a_broken_connection_is_an_outage(google: GoogleServer, exchange: TokenExchange, effect: Any) -> None:
    google.emulator.fault(Fault(operation="token", effect=effect))
    assert await exchange.refresh(person(google)) in (NO_ANSWER, BROKEN)


async def test_an_endpoint_that_refuses_connections_uses_up_no_attempt(exchange: TokenExchange) -> None:
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    account = user_account("r", client_id="c", client_secret="s", token_uri=f"http://127.0.0.1:{port}/token")
    assert await exchange.refresh(account) == UNREACHABLE


async def test_a_redirect_is_not_followed_with_the_secret() -> None:
    handler, requests = answering(307, b"", {"location": "https://elsewhere.example/"})
    assert await asked(handler) == BROKEN
    assert len(requests) == 1


async def test_an_endless_body_is_not_read() -> None:
    async def endless() -> AsyncIterator[bytes]:
        while True:
            await trio.lowlevel.checkpoint()
            yield b" " * 1000

    async def handler(_: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        return httpx.Response(200, content=endless())

    assert await asked(handler) == BROKEN


async def test_a_null_refresh_token_does_not_erase_ours() -> None:
    account = user_account("1//r", client_id="c", client_secret="s")
    await asked(answering(200, b'{"access_token":"a","refresh_token":null,"expires_in":"soon"}')[0], account)
    handler, requests = answering(200, b'{"access_token":"b"}')
    assert await asked(handler, account) == AccessToken("b", 3600)
    assert parse_qs(requests[0].content.decode())["refresh_token"] == ["1//r"]


class Unforeseen:
    """Credentials whose refresh raises what it was given."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def refresh(self, _request: object) -> None:
        raise self.error


@pytest.mark.parametrize(
    "error",
    [
        exceptions.RefreshError("<html>secret</html>"),  # type: ignore[no-untyped-call]
        exceptions.RefreshError("invalid: secret", {"error": "invalid"}),  # type: ignore[no-untyped-call]
        exceptions.RefreshError(),  # type: ignore[no-untyped-call]
        TypeError("secret"),
    ],
)
async def test_whatever_google_auth_raises_is_an_outcome(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    handler, _ = answering(200, b"")
    assert await asked(handler, Account(cast("Any", Unforeseen(error)), GrantType.USER)) == BROKEN
    assert "secret" not in capsys.readouterr().out


async def test_credentials_that_ask_nobody_got_nothing() -> None:
    class Idle:
        def refresh(self, _request: object) -> None:
            """Do nothing."""

    handler, _ = answering(200, b"")
    assert await asked(handler, Account(cast("Any", Idle()), GrantType.USER)) == BROKEN


# Time


async def silent(_: httpx.Request) -> httpx.Response:
    await trio.sleep_forever()
    raise AssertionError


async def test_a_silent_endpoint_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_exchange, "EXCHANGE_SECONDS", 0.05)
    assert await asked(silent) == NO_ANSWER


async def test_an_endpoint_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_exchange, "EXCHANGE_SECONDS", 0.2)

    async def trickle() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await trio.sleep(0.01)

    async def handler(_: httpx.Request) -> httpx.Response:
        await trio.lowlevel.checkpoint()
        return httpx.Response(200, content=trickle())

    assert await asked(handler) == NO_ANSWER


async def test_a_wait_for_a_thread_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_exchange, "TOTAL_SECONDS", 0.1)
    async with httpx.AsyncClient(transport=httpx.MockTransport(silent)) as client, trio.open_nursery() as nursery:
        exchange = TokenExchange(client, threads=1)
        account = user_account("r", client_id="c", client_secret="s")
        nursery.start_soon(exchange.refresh, account)
        assert await exchange.refresh(account) == NO_THREAD


async def test_a_full_connection_pool_is_nobodys_outage() -> None:
    async def handler(_: httpx.Request) -> httpx.Response:
        raise httpx.PoolTimeout("full")

    assert await asked(handler) == NO_THREAD


async def test_the_loop_runs_on_while_an_exchange_waits_and_cancelling_it_is_immediate() -> None:
    started = trio.Event()
    ticks = 0

    async def handler(request: httpx.Request) -> httpx.Response:
        started.set()
        return await silent(request)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(asked, handler)
            await started.wait()
            for _ in range(100):
                await trio.lowlevel.checkpoint()
                ticks += 1
            nursery.cancel_scope.cancel()
    assert ticks == 100


def test_no_other_http_library_is_loaded() -> None:
    code = "import sys, reactor.google.tokens; print(sorted({'requests', 'aiohttp', 'urllib3'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


# Secrets


async def test_nothing_secret_is_logged_shown_or_raised(
    google: GoogleServer,
    exchange: TokenExchange,
    nursery: trio.Nursery,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Everything at debug level, from every library, while tokens are fetched, rotated, refused and lost."""
    for name in (None, "httpx", "httpcore", "google.auth", "google.oauth2", "urllib3", "h11"):
        caplog.set_level(logging.DEBUG, logger=name)
    emulator, shown, secrets = google.emulator, [], {google.refresh_token, google.client_secret}
    bodies: list[str] = []

    async def store(rotated: Rotated) -> None:
        await trio.lowlevel.checkpoint()
        secrets.update((rotated.used, rotated.new))
        shown.append(repr(rotated))
        raise OSError(f"cannot store {rotated.new}")

    async def remember(request: httpx.Request) -> None:
        await trio.lowlevel.checkpoint()
        bodies.append(request.content.decode())

    exchange._client.event_hooks["request"].append(remember)
    key = emulator.add_service_account("other@project.iam.gserviceaccount.com", delegated=[EVENTS_SCOPE])
    secrets.update(key_files.secrets_of(key))
    delegate = key_files.robot(key, USER)
    shown += [repr(delegate), str(delegate)]
    delegated = delegate.account(google.token_uri)
    emulator.settings.rotate = True
    faults: list[Fault | None] = [
        None,
        Fault(operation="token", effect="html", status=400, message=google.refresh_token),
    ]
    faults += [
        Fault(operation="token", effect="error", reason=e, message=f"{google.refresh_token} is bad") for e in ERRORS
    ]
    faults += [Fault(operation="token", effect=effect) for effect in ("drop", "truncate", "malformed", "garbage")]
    for account in (person(google), delegated):
        for fault in faults:
            source = TokenSource(WORKSPACE, account, exchange.refresh, store, nursery)
            emulator.faults.clear()
            if fault is not None:
                emulator.fault(fault)
            try:
                secrets.add(await source.token())
            except TokenUnavailable as unavailable:
                shown += traceback.format_exception(unavailable)
                shown.append(repr(unavailable.outcome))
            shown += [repr(source), repr(account), repr(source.__dict__.get("_flight"))]
    assert len(bodies) == 2 * len(faults)
    secrets |= {
        value
        for body in bodies
        for field in ("assertion", "refresh_token", "client_secret")
        for value in parse_qs(body).get(field, [])
    }
    secrets |= set(emulator.oauth._access)
    texts = [*shown, *capsys.readouterr(), *(record.getMessage() for record in caplog.records)]
    texts += [json.dumps(record.__dict__, default=repr) for record in caplog.records]
    assert {record.name.split(".")[0] for record in caplog.records} >= {"httpx", "httpcore"}
    everything = "\n".join(texts)
    assert "rotated_refresh_token_not_stored" in everything
    assert len(secrets) > 30
    assert [secret for secret in secrets if secret in everything] == []
