"""What goes wrong in the demo heals, and is met by the calls it is meant for."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from random import Random

import httpx
import pytest
import trio

from calendar_emulator import CLIENT_ID, CLIENT_SECRET, Emulator, Service, application, serve
from reactor.demo import faults as module
from reactor.demo.faults import FaultPlayer
from reactor.demo.google import DemoAccount, Google
from reactor.demo.sample import schedules
from reactor.demo.scenario import Scenario
from reactor.demo.stats import DemoStats
from reactor.postgres.connection.session import Session, open_session
from reactor.token_encryption import TokenCipher
from tests.support.example_database import make_example

KINDS = {"rate limit", "503", "lost answers", "consent revoked", "slow answers"}


@dataclass
class Stage:
    google: Google
    faults: FaultPlayer
    owner: Session
    url: str


@pytest.fixture
async def stage(empty_database: str) -> AsyncIterator[Stage]:
    make_example(empty_database)
    google = Google(Emulator(rng=Random(1)), Scenario(schedules(), 1).workspaces)
    async with open_session(empty_database, name="test") as owner, trio.open_nursery() as nursery:
        await google.connect(owner)
        url = await nursery.start(serve, application(Service(google.emulator)))
        yield Stage(google, FaultPlayer(google, owner, 1), owner, url)
        nursery.cancel_scope.cancel()


async def refresh(stage: Stage, account: DemoAccount, stored: str) -> httpx.Response:
    """What the reactor does: refresh with the stored token; mark the connection where that is refused."""
    form = {
        "grant_type": "refresh_token",
        "refresh_token": TokenCipher.from_setting(stage.google.keys).decrypt(account.workspace_id, stored),
        "client_id": CLIENT_ID,
        "client_secret": CLIENT_SECRET,
    }
    async with httpx.AsyncClient() as client:
        answer = await client.post(f"{stage.url}/token", data=form)
    if answer.status_code == 400:
        with trio.CancelScope(shield=True):  # a statement that is interrupted costs the session, which is everybody's
            await stage.owner.execute(
                "update google_connections set is_valid = false"
                " where workspace_id = %s and refresh_token_encrypted = %s",
                (account.workspace_id, stored),  # a new consent is not to blame
            )
    return answer


async def stored(stage: Stage, account: DemoAccount) -> tuple[str, bool]:
    with trio.CancelScope(shield=True):
        [(token, valid)] = await stage.owner.execute(
            "select refresh_token_encrypted, is_valid from google_connections where workspace_id = %s",
            (account.workspace_id,),
        )
    return token, valid


async def call_everybody(stage: Stage) -> None:
    """Use every account again and again: refresh, insert."""
    async with httpx.AsyncClient() as client:
        while True:
            for account in stage.google.accounts:
                token, _ = await stored(stage, account)
                try:
                    answer = await refresh(stage, account, token)
                    if answer.status_code == 200:
                        await client.post(
                            f"{stage.url}/calendar/v3/calendars/{account.calendar_id}/events",
                            headers={"authorization": f"Bearer {answer.json()['access_token']}"},
                            json={"summary": "x", "start": {"date": "2024-01-01"}, "end": {"date": "2024-01-02"}},
                        )
                        await client.delete(
                            f"{stage.url}/calendar/v3/calendars/{account.calendar_id}/events/foreign0",
                            headers={"authorization": f"Bearer {answer.json()['access_token']}"},
                        )
                except httpx.HTTPError:
                    pass  # the lost answer


async def test_each_kind_comes_once_is_met_and_heals(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST", 30.0)  # whatever the machine does, the calls end it
    before = list(stage.google.emulator.faults.rules)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call_everybody, stage)
        for n in range(1, len(KINDS) + 1):
            met = stage.faults.met
            await stage.faults.play()
            assert stage.faults.met > met
            assert stage.faults.current == ""
            assert stage.faults.healed.total() == n
        nursery.cancel_scope.cancel()
    assert set(stage.faults.healed) == KINDS
    assert stage.google.emulator.faults.rules == before
    for account in stage.google.accounts:
        token, valid = await stored(stage, account)
        assert valid
        assert (await refresh(stage, account, token)).status_code == 200


async def test_where_nobody_calls_troubles_pass_all_the_same(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_LONGEST", 0.01)
    for _ in KINDS:
        await stage.faults.play()
    assert set(stage.faults.healed) == KINDS
    assert stage.faults.met == 0


async def test_patience_that_ends_in_the_middle_of_a_statement_costs_no_session(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_LONGEST", 0.05)
    monkeypatch.setattr(module, "_LOOK", 0.0)  # asks all the time
    for _ in range(3 * len(KINDS)):
        await stage.faults.play()
    stats = DemoStats()
    for _ in range(20):
        with trio.move_on_after(0.0005):
            await stats.look(stage.owner)
    stage.owner.check()
