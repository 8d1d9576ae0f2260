"""The client over a socket: what travels together, what is retried alone, and what every failure means."""

from collections.abc import AsyncIterator

import pytest

from calendar_emulator import Fault, Quota
from reactor.core.calendar import answers, upsert
from reactor.core.calendar.token_answers import GrantType
from reactor.core.outcome import Dead, Done, FailureCode, Outcome, Retry, Scope
from reactor.google.client import GoogleCalendar
from tests.support.dialogues import OTHER, WORKSPACE
from tests.support.google_client import Tokens, after, item
from tests.support.google_fixtures import USER, GoogleServer


@pytest.fixture
async def client(google: GoogleServer) -> AsyncIterator[GoogleCalendar]:
    async with GoogleCalendar(google.api_root) as client:
        yield client


@pytest.fixture
def tokens(google: GoogleServer) -> Tokens:
    return Tokens(google.emulator)


def log(google: GoogleServer) -> list[str]:
    """What reached Google: a batch is written as the operations in it."""
    lines: dict[int, list[str]] = {}
    for entry in google.emulator.log.entries:
        if entry.operation != "batch":
            lines.setdefault(entry.batch or -entry.number, []).append(entry.operation)
    return ["+".join(sorted(line)) for line in lines.values()]


def titles(google: GoogleServer, calendar_id: str = USER) -> list[str]:
    return sorted(event["summary"] for event in google.emulator.events(calendar_id))


def all_done(outcomes: list[Outcome]) -> list[Done]:
    done = [outcome for outcome in outcomes if isinstance(outcome, Done)]
    assert len(done) == len(outcomes), outcomes
    return done


async def test_one_item_is_one_request_of_its_own(google: GoogleServer, client: GoogleCalendar, tokens: Tokens) -> None:
    all_done(await client.send([item(1, "Gate")], tokens))
    assert log(google) == ["insert"]
    assert titles(google) == ["Gate"]


async def test_requests_count_against_the_quota_that_the_tokens_name(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens
) -> None:
    """The workspaces of a service account are one user to Google, unless each is named; also in batches."""
    google.emulator.quota = Quota(user=2)
    for workspace in ("one", "another"):
        tokens.quota_user = workspace
        all_done(await client.send([item(number, workspace) for number in range(2)], tokens))
        google.emulator.api.calendars[USER].records.clear()
        [refused] = await client.send([item(3)], tokens)
        assert isinstance(refused, Retry)
        assert refused.reason == answers.RATE.reason
    tokens.quota_user = None
    all_done(await client.send([item(4)], tokens))


async def test_nothing_is_written_where_no_person_sees_it(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens
) -> None:
    """A service account that acts as itself has a `primary` of its own; what it left there may be removed."""
    works = [item(1, calendar_id="primary"), item(2), item(3, calendar_id="primary", cancel=True)]
    tokens.grant = GrantType.SERVICE_ACCOUNT
    refused, *others = await client.send(works, tokens)
    assert refused == answers.SERVICE_ACCOUNTS_PRIMARY
    assert len(all_done(others)) == 2
    assert len(google.emulator.events(USER)) == 1
    google.emulator.log.clear()
    assert await client.send(works[:1], tokens) == [answers.SERVICE_ACCOUNTS_PRIMARY]
    assert not google.emulator.log.entries
    tokens.grant = GrantType.DELEGATION
    all_done(await client.send(works[:1], tokens))


@pytest.mark.parametrize("reason", ["CONSUMER_SUSPENDED", "accessNotConfigured", "API_KEY_INVALID"])
async def test_a_service_account_has_a_project_of_its_own(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens, reason: str
) -> None:
    """What Google refuses to a person's consent it refuses to our project, so to everybody."""
    google.emulator.fault(Fault(effect="error", reason=reason))
    for grant, scope in (
        (GrantType.USER, Scope.ALL),
        (GrantType.SERVICE_ACCOUNT, Scope.LANE),
        (GrantType.DELEGATION, Scope.LANE),
    ):
        tokens.grant = grant
        sent = [*await client.send([item(1)], tokens), *await client.send([item(2), item(3)], tokens)]
        for outcome in (*sent, await client.list_events(USER, WORKSPACE, tokens)):
            assert isinstance(outcome, Retry)
            assert (outcome.scope, outcome.counts) == (scope, False)
            assert (outcome.after or 0) <= 60 or scope is Scope.ALL
            assert reason in outcome.said


async def test_several_items_are_one_batch(google: GoogleServer, client: GoogleCalendar, tokens: Tokens) -> None:
    works = [item(number) for number in range(5)]
    outcomes = all_done(await client.send(works, tokens))
    assert log(google) == ["insert+insert+insert+insert+insert"]
    assert [done.event_id for done in outcomes] == [work.place(USER, 0).event_id for work in works]


async def test_a_batch_holds_50_at_most(google: GoogleServer, client: GoogleCalendar, tokens: Tokens) -> None:
    all_done(await client.send([item(number) for number in range(51)], tokens))
    assert [line.count("insert") for line in log(google)] == [50, 1]


async def test_batching_can_be_turned_off(google: GoogleServer, tokens: Tokens) -> None:
    async with GoogleCalendar(google.api_root, batch_parts=1) as client:
        all_done(await client.send([item(number) for number in range(3)], tokens))
    assert log(google) == ["insert"] * 3


async def test_nothing_to_do_is_nothing_sent(google: GoogleServer, client: GoogleCalendar, tokens: Tokens) -> None:
    assert await client.send([], tokens) == []
    assert log(google) == []


async def test_a_life_in_three_requests(google: GoogleServer, client: GoogleCalendar, tokens: Tokens) -> None:
    made, changed, gone = item(1, "made"), item(1, "changed", seq=2), item(1, cancel=True, seq=3)
    [done] = all_done(await client.send([made], tokens))
    [done] = all_done(await client.send([after(made, done, changed)], tokens))
    assert titles(google) == ["changed"]
    all_done(await client.send([after(changed, done, gone)], tokens))
    assert titles(google) == []
    assert log(google) == ["insert", "update", "delete"]


async def test_what_follows_goes_together_too(google: GoogleServer, client: GoogleCalendar, tokens: Tokens) -> None:
    await client.send([item(number, "lost") for number in range(3)], tokens)
    google.emulator.log.clear()
    all_done(await client.send([item(number) for number in range(3)], tokens))
    assert log(google) == ["insert+insert+insert", "get+get+get", "update+update+update"]
    assert titles(google) == ["event 0", "event 1", "event 2"]


async def test_two_items_about_one_event_are_never_in_one_batch(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens
) -> None:
    all_done(await client.send([item(1, "a"), item(2), item(1, "b", seq=2)], tokens))
    assert log(google)[:2] == ["insert+insert", "insert"]
    assert titles(google) == ["b", "event 2"]


async def test_a_mixed_batch(google: GoogleServer, client: GoogleCalendar, tokens: Tokens) -> None:
    made = [item(number) for number in range(3)]
    done = all_done(await client.send(made, tokens))
    google.emulator.log.clear()
    works = [
        after(made[0], done[0], item(0, "changed", seq=2)),
        after(made[1], done[1], item(1, cancel=True, seq=2)),
        item(3),
    ]
    all_done(await client.send(works, tokens))
    assert log(google) == ["delete+insert+update"]
    assert titles(google) == ["changed", "event 2", "event 3"]


async def test_calendar_ids_are_sent_whole(google: GoogleServer, client: GoogleCalendar, tokens: Tokens) -> None:
    odd = "en.usa#holiday%40/?&x@group.v.calendar.google.com"
    google.emulator.share(odd, USER, "owner")
    all_done(await client.send([item(1, calendar_id=odd)], tokens))
    all_done(await client.send([item(2, calendar_id=odd), item(3, calendar_id=odd)], tokens))
    assert titles(google, odd) == ["event 1", "event 2", "event 3"]


# A batch in which something fails


@pytest.mark.parametrize(
    ("fault", "means"),
    [
        (Fault(operation="insert", nth=2, effect="error", reason="rateLimitExceeded", status=429), answers.RATE),
        (Fault(operation="insert", nth=2, effect="error", reason="userRateLimitExceeded"), answers.RATE),
        (Fault(operation="insert", nth=2, effect="error", reason="backendError", status=503), answers.SERVER),
        (Fault(operation="insert", nth=2, effect="drop"), answers.LOST),
        (Fault(operation="insert", nth=2, effect="malformed"), answers.LOST),
        (Fault(operation="insert", nth=2, effect="truncate"), answers.LOST),
        (Fault(operation="insert", nth=2, effect="garbage"), answers.UNREADABLE),
        (Fault(operation="insert", nth=2, effect="length"), answers.UNREADABLE),
        (Fault(operation="insert", nth=2, effect="html", status=403), answers.NOT_GOOGLE),
        (Fault(operation="insert", nth=2, effect="error", reason="forbidden", status=403), answers.FORBIDDEN),
    ],
    ids=lambda value: value.effect if isinstance(value, Fault) else "",
)
async def test_a_part_that_fails_fails_alone(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens, fault: Fault, means: Outcome
) -> None:
    google.emulator.fault(fault)
    outcomes = await client.send([item(number) for number in range(4)], tokens)
    assert [outcome for outcome in outcomes if not isinstance(outcome, Done)] == [means]
    google.emulator.faults.clear()
    all_done(await client.send([item(number) for number in range(4)], tokens))
    assert titles(google) == [f"event {number}" for number in range(4)]


async def test_a_part_in_conflict_is_sent_again_alone(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens
) -> None:
    google.emulator.fault(
        Fault(operation="insert", in_batch=True, nth=2, effect="error", reason="conflict", status=409)
    )
    all_done(await client.send([item(number) for number in range(3)], tokens))
    assert log(google) == ["insert+insert+insert", "insert"]


async def test_a_part_whose_token_is_refused_is_sent_again_with_a_fresh_one(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens
) -> None:
    google.emulator.fault(Fault(operation="insert", nth=2, effect="error", reason="authError", status=401))
    all_done(await client.send([item(number) for number in range(3)], tokens))
    assert tokens.refreshes == 1
    assert log(google) == ["insert+insert+insert", "insert"]


# A batch that fails as a whole


async def test_an_outer_401_is_one_refresh(google: GoogleServer, client: GoogleCalendar, tokens: Tokens) -> None:
    google.emulator.fault(Fault(operation="batch", times=1, effect="error", reason="authError", status=401))
    all_done(await client.send([item(number) for number in range(5)], tokens))
    assert tokens.refreshes == 1
    assert [line.count("insert") for line in log(google)] == [5]


async def test_an_outer_limit_is_everybodys(google: GoogleServer, client: GoogleCalendar, tokens: Tokens) -> None:
    google.emulator.fault(
        Fault(operation="batch", effect="error", reason="rateLimitExceeded", status=429, retry_after="30")
    )
    for outcome in await client.send([item(number) for number in range(3)], tokens):
        assert isinstance(outcome, Retry)
        assert (outcome.counts, outcome.after) == (False, 30.0)


@pytest.mark.parametrize(
    ("fault", "means"),
    [
        (Fault(operation="batch", effect="error", reason="backendError", status=500), answers.SERVER),
        (Fault(operation="batch", effect="drop"), answers.LOST),
        (Fault(operation="batch", effect="drop", commit=1.0), answers.LOST),
        (Fault(operation="batch", effect="malformed"), answers.LOST),
        (Fault(operation="batch", effect="truncate"), answers.LOST),
        (Fault(operation="batch", effect="garbage"), answers.LOST),
        (Fault(operation="batch", effect="html", status=502), answers.SERVER),
        (Fault(operation="batch", effect="html", status=403), answers.NOT_GOOGLE),
    ],
)
async def test_an_outer_failure_leaves_every_part_unknown(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens, fault: Fault, means: Outcome
) -> None:
    google.emulator.fault(fault)
    works = [item(number) for number in range(3)]
    assert await client.send(works, tokens) == [means] * 3
    google.emulator.faults.clear()
    all_done(await client.send(works, tokens))
    assert titles(google) == ["event 0", "event 1", "event 2"]


@pytest.mark.parametrize(("reason", "status"), [("badRequest", 400), ("notFound", 404), ("forbidden", 403)])
async def test_a_batch_that_is_refused_as_such_is_sent_one_by_one(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens, reason: str, status: int
) -> None:
    google.emulator.fault(Fault(operation="batch", effect="error", reason=reason, status=status))
    all_done(await client.send([item(number) for number in range(3)], tokens))
    assert log(google) == ["insert"] * 3


# Tokens


async def test_a_401_is_one_refresh_and_one_repetition(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens
) -> None:
    google.emulator.oauth.expire_access_tokens()
    all_done(await client.send([item(1)], tokens))
    assert tokens.refreshes == 1
    assert log(google) == ["insert", "insert"]


async def test_a_401_with_a_fresh_token_ends_the_connection(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens
) -> None:
    google.emulator.fault(Fault(effect="error", reason="authError", status=401))
    [outcome] = await client.send([item(1)], tokens)
    assert isinstance(outcome, Dead)
    assert (outcome.code, outcome.connection_invalid) == (FailureCode.AUTH, True)
    assert log(google) == ["insert", "insert"]


@pytest.mark.parametrize("outcome", [answers.REVOKED, Retry("the token endpoint is down", counts=True, outage=True)])
async def test_without_a_token_everybody_has_the_same_outcome(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens, outcome: Dead | Retry
) -> None:
    tokens.failure = outcome
    assert await client.send([item(1), item(2)], tokens) == [outcome] * 2
    assert log(google) == []


async def test_what_is_known_before_the_tokens_end_stays_known(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens
) -> None:
    google.emulator.fault(Fault(operation="insert", nth=2, effect="error", reason="authError", status=401))

    def fail(_place: int, _outcome: Outcome) -> None:
        tokens.failure = answers.REVOKED

    outcomes = await client.send([item(number) for number in range(3)], tokens, fail)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Dead", "Done", "Done"]


# Pace


async def test_outcomes_are_reported_before_the_slowest_is_known(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upsert, "_REPLICATION", 0.01)
    order: list[int] = []
    works = [item(1, bound_event_id="never00", bound_calendar_id=USER, etag='"1"'), item(2)]
    outcomes = await client.send(works, tokens, lambda place, _outcome: order.append(place))
    assert order == [1, 0]
    assert isinstance(outcomes[0], Dead)
    assert log(google) == ["insert+update", "get", "list", "get", "list"]


async def test_pauses_are_made_together(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upsert, "_REPLICATION", 0.01)
    works = [item(n, bound_event_id=f"never{n:02}", bound_calendar_id=USER, etag='"1"') for n in range(3)]
    await client.send(works, tokens)
    assert log(google)[:2] == ["update+update+update", "get+get+get"]


# Lists


async def test_a_list_holds_what_is_ours_and_alive(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens
) -> None:
    google.emulator.share(OTHER, USER, "owner")
    done = all_done(await client.send([item(number) for number in range(4)], tokens))
    await client.send([item(9, calendar_id=OTHER)], tokens)
    google.emulator.delete_by_hand(USER, done[0].event_id)
    times = {"start": {"date": "2026-12-01"}, "end": {"date": "2026-12-02"}}
    google.emulator.calendar(USER).insert(times, who=USER, new_id="byhand0", now=google.emulator.clock())
    found = await client.list_events(USER, WORKSPACE, tokens)
    assert isinstance(found, list)
    assert sorted((event.event_id, event.etag) for event in found) == sorted((d.event_id, d.etag) for d in done[1:])
    assert {(event.workspace_id, event.seq) for event in found} == {(WORKSPACE, 1)}


async def test_a_list_of_a_calendar_that_is_gone(client: GoogleCalendar, tokens: Tokens) -> None:
    assert await client.list_events("nobody@example.com", WORKSPACE, tokens) == answers.NO_CALENDAR


async def test_a_list_that_fails(google: GoogleServer, client: GoogleCalendar, tokens: Tokens) -> None:
    google.emulator.fault(Fault(operation="list", effect="garbage"))
    assert await client.list_events(USER, WORKSPACE, tokens) == answers.UNREADABLE


async def test_a_mass_cancel_that_meets_nothing_looks_at_the_calendar_once(
    google: GoogleServer, client: GoogleCalendar, tokens: Tokens
) -> None:
    """While the calendar is not shared no cancel is believed; nor does it cost each of them a look of its own."""
    google.emulator.share(OTHER, USER, "owner")
    works = [item(number, calendar_id=OTHER) for number in range(40)]
    written = all_done(await client.send(works, tokens))
    cancels = [
        after(work, done, item(number, calendar_id=OTHER, cancel=True, seq=2))
        for number, (work, done) in enumerate(zip(works, written, strict=True))
    ]
    google.emulator.share(OTHER, USER, None)
    google.emulator.log.clear()
    google.emulator.fault(Fault(operation="list", effect="error", reason="authError", times=1))
    assert await client.send(cancels, tokens) == [answers.NO_CALENDAR] * 40
    counts = google.emulator.log.counts
    assert (counts["delete", 404], counts["list", 401], counts["list", 404]) == (40, 1, 1)
    assert tokens.refreshes == 1
    google.emulator.share(OTHER, USER, "owner")
    all_done(await client.send(cancels, tokens))
    assert titles(google, OTHER) == []
