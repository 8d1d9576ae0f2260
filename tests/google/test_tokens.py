"""One refresh for any number of callers: the source alone, on virtual time, with a scripted endpoint.

Every test names `autojump_clock` itself; pytest-trio does not see a clock that only another fixture asked for.
"""

from collections.abc import Awaitable, Callable
from typing import Any, cast
from uuid import UUID, uuid4

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from reactor.core.calendar.token_answers import BUSY, NO_ANSWER, AccessToken, Answer, GrantType
from reactor.core.outcome import Dead, FailureCode, Outcome, Retry, Scope
from reactor.google.token_exchange import Account, TokenExchange
from reactor.google.tokens import Rotated, TokenSource, TokenSources, TokenUnavailable

WORKSPACE = UUID("6f1a2b3c-0000-4000-8000-00000000000a")
REVOKED = Dead(FailureCode.AUTH, "revoked", scope=Scope.LANE, connection_invalid=True)


class Endpoint:
    """Grants t1, t2, ... for an hour, unless told otherwise; answers at once, or when `open` is set."""

    def __init__(self) -> None:
        self.asked = 0
        self.open = trio.Event()
        self.open.set()
        self.script: list[Answer] = []

    async def fetch(self, account: Account) -> Answer:
        assert isinstance(account, Account)
        self.asked += 1
        number = self.asked
        await self.open.wait()
        await trio.lowlevel.checkpoint()
        return self.script.pop(0) if self.script else AccessToken(f"t{number}", 3600)


class Stored:
    """Where rotated refresh tokens go; fails as often as told."""

    def __init__(self, failures: int = 0) -> None:
        self.failures = failures
        self.rotations: list[tuple[str, str]] = []

    async def store(self, rotated: Rotated) -> None:
        await trio.lowlevel.checkpoint()
        if self.failures:
            self.failures -= 1
            raise OSError("the database is away")
        self.rotations.append((rotated.used, rotated.new))


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
def stored() -> Stored:
    return Stored()


def account(refresh_token: str | None = "r0", grant: GrantType = GrantType.USER) -> Account:
    return Account(cast("Any", None), grant, refresh_token)


@pytest.fixture
def source(endpoint: Endpoint, stored: Stored, nursery: trio.Nursery) -> TokenSource:
    return TokenSource(WORKSPACE, account(), endpoint.fetch, stored.store, nursery)


async def refusal(source: TokenSource, rejected: str | None = None) -> Outcome:
    with pytest.raises(TokenUnavailable) as caught:
        await source.token(rejected)
    assert caught.value.__cause__ is caught.value.__context__ is None
    return caught.value.outcome


async def together(number: int, ask: Callable[[], Awaitable[object]]) -> list[object]:
    results: list[object] = []

    async def one() -> None:
        try:
            results.append(await ask())
        except TokenUnavailable as unavailable:
            results.append(unavailable.outcome)

    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(one)
    return results


# One refresh


async def test_twenty_callers_at_once_are_one_refresh(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    assert await together(20, source.token) == ["t1"] * 20
    assert endpoint.asked == 1


async def test_a_token_is_kept(source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock) -> None:
    assert [await source.token() for _ in range(3)] == ["t1"] * 3
    assert endpoint.asked == 1


async def test_twenty_reports_of_the_same_401_are_one_refresh(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    await source.token()
    assert await together(20, lambda: source.token("t1")) == ["t2"] * 20
    assert endpoint.asked == 2


async def test_a_late_report_of_an_old_token_gets_the_newer_one(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    await source.token()
    await source.token("t1")
    assert await source.token("t1") == "t2"
    assert endpoint.asked == 2


async def test_a_caller_without_complaint_shares_the_refresh_of_one_with(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    await source.token()
    endpoint.open = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.token, "t1")
        await wait_all_tasks_blocked()
        assert await source.token() == "t1"  # for all we know it is good; the report may have been one request's
        endpoint.open.set()
    assert await source.token() == "t2"
    assert endpoint.asked == 2


# Expiry


async def test_a_token_is_replaced_before_it_expires_while_callers_go_on_with_it(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    await source.token()
    autojump_clock.jump(3600 - 301)
    assert await source.token() == "t1"
    assert endpoint.asked == 1
    autojump_clock.jump(2)
    assert await together(20, source.token) == ["t1"] * 20
    await wait_all_tasks_blocked()
    assert endpoint.asked == 2
    assert await source.token() == "t2"


async def test_an_outage_just_before_the_expiry_is_not_noticed(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    await source.token()
    autojump_clock.jump(3600 - 300)
    endpoint.script = [NO_ANSWER] * 3
    for _ in range(29):
        assert await source.token() in {"t1", "t5"}
        await trio.lowlevel.checkpoint()
        autojump_clock.jump(10)
    assert await source.token() == "t5"


async def test_an_expired_token_is_not_used(source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock) -> None:
    await source.token()
    autojump_clock.jump(3600 - 10)
    assert await source.token() == "t2"
    assert endpoint.asked == 2


async def test_the_lifetime_begins_before_the_request(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    endpoint.script = [AccessToken("short", 100)]
    endpoint.open = trio.Event()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.token)
        await wait_all_tasks_blocked()
        autojump_clock.jump(90)
        endpoint.open.set()
    assert await source.token() == "t2"


async def test_a_token_without_lifetime_serves_those_who_waited_for_it(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    endpoint.script = [AccessToken("brief", 0)]
    assert await together(3, source.token) == ["brief"] * 3
    assert await source.token() == "t2"


# Cancellation


async def test_a_cancelled_caller_does_not_cancel_what_others_wait_for(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    endpoint.open = trio.Event()
    results: list[object] = []
    async with trio.open_nursery() as nursery:
        with trio.move_on_after(5) as first:
            await source.token()  # starts the refresh
        assert first.cancelled_caught

        async def second() -> None:
            results.append(await source.token())

        nursery.start_soon(second)
        await wait_all_tasks_blocked()
        endpoint.open.set()
    assert results == ["t1"]
    assert endpoint.asked == 1


async def test_a_refresh_nobody_waits_for_any_more_is_still_of_use(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    endpoint.open = trio.Event()
    with trio.move_on_after(5):
        await source.token()
    endpoint.open.set()
    await wait_all_tasks_blocked()
    assert await source.token() == "t1"
    assert endpoint.asked == 1


async def test_the_end_of_the_nursery_refuses_who_waits(
    endpoint: Endpoint, stored: Stored, autojump_clock: MockClock
) -> None:
    endpoint.open = trio.Event()
    outcomes: list[Outcome] = []

    async def caller(source: TokenSource) -> None:
        outcomes.append(await refusal(source))

    async with trio.open_nursery() as callers, trio.open_nursery() as nursery:
        source = TokenSource(WORKSPACE, account(), endpoint.fetch, stored.store, nursery)
        callers.start_soon(caller, source)
        await wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert outcomes == [Retry("the process stops", counts=False, scope=Scope.LANE)]


async def test_every_call_is_a_checkpoint(source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock) -> None:
    await source.token()
    endpoint.script = [REVOKED]
    await refusal(source, "t1")
    for rejected in (None, "t1"):
        with trio.CancelScope() as scope:
            scope.cancel()
            await source.token(rejected)
        assert scope.cancelled_caught


# Failures


async def test_a_failure_is_one_piece_of_evidence_however_many_wait(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    endpoint.script = [NO_ANSWER]
    outcomes = await together(100, source.token)
    assert endpoint.asked == 1
    assert outcomes.count(NO_ANSWER) == 1
    others = [outcome for outcome in outcomes if outcome != NO_ANSWER]
    assert all(isinstance(o, Retry) and not (o.counts or o.outage) and o.scope is Scope.LANE for o in others)


async def test_a_revoked_consent_ends_one_item_and_holds_the_rest(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    endpoint.script = [REVOKED]
    outcomes = await together(100, source.token)
    assert outcomes.count(REVOKED) == 1
    assert sum(isinstance(outcome, Retry) for outcome in outcomes) == 99


async def test_a_deployments_fault_holds_everything_for_everybody(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    endpoint.script = [Retry("client", counts=False, scope=Scope.ALL)]
    outcomes = await together(3, source.token)
    assert all(isinstance(outcome, Retry) and outcome.scope is Scope.ALL for outcome in outcomes)


async def test_a_failure_is_remembered_for_a_moment_then_tried_again(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    endpoint.script = [NO_ANSWER]
    await refusal(source)
    held = await refusal(source)
    assert endpoint.asked == 1
    assert isinstance(held, Retry)
    assert held.after is not None
    assert 0.9 < held.after <= 1.25
    await trio.sleep(held.after)
    assert await source.token() == "t2"


async def test_failures_in_a_row_are_remembered_longer_up_to_a_minute(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    endpoint.script = [NO_ANSWER] * 12
    held = []
    for _ in range(12):
        await refusal(source)
        outcome = await refusal(source)
        assert isinstance(outcome, Retry)
        assert outcome.after is not None
        held.append(outcome.after)
        await trio.sleep(outcome.after)
    assert held[0] < held[2] < held[4]
    assert 60 <= max(held) <= 75
    assert await source.token() == "t13"


async def test_a_success_forgets_the_failures_before_it(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    endpoint.script = [NO_ANSWER, NO_ANSWER, NO_ANSWER, AccessToken("t", 3600), NO_ANSWER]
    for _ in range(3):
        await refusal(source)
        autojump_clock.jump(10)
    assert await source.token() == "t"
    await refusal(source, "t")
    outcome = await refusal(source, "t")
    assert isinstance(outcome, Retry)
    assert outcome.after is not None
    assert outcome.after <= 1.25


async def test_a_retry_after_is_kept(source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock) -> None:
    endpoint.script = [Retry(BUSY.reason, counts=False, scope=Scope.LANE, after=120.0)]
    await refusal(source)
    autojump_clock.jump(119)
    outcome = await refusal(source)
    assert isinstance(outcome, Retry)
    assert outcome.after == pytest.approx(1, abs=0.1)
    autojump_clock.jump(1)
    assert await source.token() == "t2"


async def test_a_failure_after_a_401_does_not_bring_the_rejected_token_back(
    source: TokenSource, endpoint: Endpoint, autojump_clock: MockClock
) -> None:
    await source.token()
    endpoint.script = [NO_ANSWER]
    assert await refusal(source, "t1") == NO_ANSWER
    assert isinstance(await refusal(source, "t1"), Retry)


# Rotated refresh tokens


async def test_a_rotated_refresh_token_is_stored_with_the_one_it_replaces(
    source: TokenSource, endpoint: Endpoint, stored: Stored, autojump_clock: MockClock
) -> None:
    endpoint.script = [AccessToken("a", 3600, "r1"), AccessToken("b", 3600, "r1"), AccessToken("c", 3600, "r2")]
    for rejected in (None, "a", "b"):
        await source.token(rejected)
        await wait_all_tasks_blocked()
    assert stored.rotations == [("r0", "r1"), ("r1", "r2")]


async def test_a_rotated_refresh_token_is_stored_although_everybody_left(
    source: TokenSource, endpoint: Endpoint, stored: Stored, autojump_clock: MockClock
) -> None:
    endpoint.script = [AccessToken("a", 3600, "r1")]
    endpoint.open = trio.Event()
    with trio.move_on_after(1):
        await source.token()
    endpoint.open.set()
    await wait_all_tasks_blocked()
    assert stored.rotations == [("r0", "r1")]


async def test_a_store_that_fails_is_asked_again_in_order_and_delays_nobody(
    source: TokenSource, endpoint: Endpoint, stored: Stored, autojump_clock: MockClock
) -> None:
    stored.failures = 5
    endpoint.script = [AccessToken("a", 3600, "r1"), AccessToken("b", 3600, "r2")]
    start = trio.current_time()
    assert await source.token() == "a"
    assert await source.token("a") == "b"
    assert trio.current_time() == start
    await trio.sleep(60)
    assert stored.rotations == [("r0", "r1"), ("r1", "r2")]


async def test_a_delegation_has_no_refresh_token_to_rotate(
    endpoint: Endpoint, stored: Stored, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    source = TokenSource(WORKSPACE, account(None, GrantType.DELEGATION), endpoint.fetch, stored.store, nursery)
    endpoint.script = [AccessToken("a", 3600, "r1")]
    await source.token()
    await wait_all_tasks_blocked()
    assert stored.rotations == []


# The cache


def sources(nursery: trio.Nursery, stored: Stored, capacity: int = 3) -> TokenSources:
    return TokenSources(cast("TokenExchange", Endpoint()), stored.store, nursery, capacity=capacity)


@pytest.fixture
def cache(nursery: trio.Nursery, stored: Stored, monkeypatch: pytest.MonkeyPatch) -> TokenSources:
    monkeypatch.setattr(Endpoint, "refresh", Endpoint.fetch, raising=False)
    return sources(nursery, stored)


async def test_a_workspace_keeps_its_source_until_its_token_changes(
    cache: TokenSources, autojump_clock: MockClock
) -> None:
    source = cache.get(WORKSPACE, "v1", account)
    assert cache.get(WORKSPACE, "v1", account) is source
    assert cache.get(WORKSPACE, "v2", account) is not source
    assert cache.get(WORKSPACE, "v1", account) is source  # an item that was claimed before the change


async def test_the_least_recently_used_source_is_dropped(cache: TokenSources, autojump_clock: MockClock) -> None:
    a, b, c, d = (uuid4() for _ in range(4))
    kept = {workspace: cache.get(workspace, "v", account) for workspace in (a, b, c)}
    cache.get(a, "v", account)
    cache.get(d, "v", account)
    assert len(cache) == 3
    assert cache.get(a, "v", account) is kept[a]
    assert cache.get(b, "v", account) is not kept[b]


async def test_a_token_that_cannot_be_decrypted_leaves_nothing_behind(
    cache: TokenSources, autojump_clock: MockClock
) -> None:
    def undecryptable() -> Account:
        raise ValueError("key lost")

    with pytest.raises(ValueError, match="key lost"):
        cache.get(WORKSPACE, "v", undecryptable)
    assert len(cache) == 0


async def test_only_a_delegation_needs_a_quota_user(cache: TokenSources, autojump_clock: MockClock) -> None:
    delegated = cache.get(WORKSPACE, "delegated", lambda: account(None, GrantType.DELEGATION))
    assert delegated.quota_user == str(WORKSPACE)
    assert len(delegated.quota_user) <= 40
    assert cache.get(WORKSPACE, "user", account).quota_user is None


async def test_nothing_secret_is_shown(cache: TokenSources, autojump_clock: MockClock) -> None:
    source = cache.get(WORKSPACE, "v", lambda: account("1//secret"))
    shown = repr([source, account("1//secret"), Rotated(WORKSPACE, "1//secret", "2//secret"), cache])
    assert "secret" not in shown
