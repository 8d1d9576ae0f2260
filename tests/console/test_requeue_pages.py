"""A requeue that a page has begun: what was forecast is what happens, and it can be stopped, or die, at any time."""

import re
import signal
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
import trio
from psycopg.types.json import Jsonb
from structlog.testing import capture_logs

from reactor.console import requeue_worker
from reactor.desk.act_run import ActRun, RunState
from reactor.desk.letters.dead_letters import FATES
from reactor.desk.letters.requeue_run import RequeueRun
from reactor.postgres.connection.admin import AdminSession
from tests.commands.test_commands_dead_letters import EVENT, die, floor
from tests.commands.test_commands_explain import item
from tests.console.conftest import running
from tests.console.site import DatabaseSite, KnownBrowser
from tests.support.commands import call
from tests.support.databases import Database
from tests.support.outbox_world import World as Rows
from tests.support.process_world import WORKSPACE
from tests.support.rebuild_world import RebuildWorld, key, world
from tests.support.replica import start
from tests.support.waiting import until

__all__ = ["world"]

BACK = "select count(*) from sync_outbox where status = 'PENDING'"


FAILS = """
create sequence tries;
create function fails() returns trigger language plpgsql security definer as $$
begin
  if {when} then raise 'not now' using errcode = '40001'; end if;
  return null;
end $$;
create constraint trigger fails after update on sync_outbox deferrable initially deferred
  for each row execute function fails();
"""
"""Makes a commit fail."""


@pytest.fixture(autouse=True)
def _lines() -> Iterator[None]:
    with capture_logs():
        yield


def lose_answers(monkeypatch: pytest.MonkeyPatch, every: int) -> None:
    """Portions are committed, and the session dies before that is known."""
    put_back, portions = RequeueRun.put_back, count(1)

    def loses(run: RequeueRun, admin: AdminSession, ids: list[UUID]) -> None:
        done = run.act.done
        put_back(run, admin, ids)
        if next(portions) % every == 0:
            run.act.done = done
            raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(RequeueRun, "put_back", loses)


async def form(site: KnownBrowser, address: str = "/dead/requeue") -> dict[str, str]:
    """What the form of a forecast sends as it is, with a reason."""
    page = (await site.get(address)).partition('action="/dead/requeue"')[2].partition('class="act"')[2]
    return fields_of(page)


def fields_of(page: str) -> dict[str, str]:
    found = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', page))
    assert "seen" in found
    return {**found, "rate": "50", "reason": "it is mended"}


def result(rows: Rows, act: str) -> dict[str, Any]:
    found = rows.one("select result from sync_acts where id = %s", int(act.rpartition("/")[2]))
    assert isinstance(found, dict)
    return found


def ended(rows: Rows, act: str) -> bool:
    return str(result(rows, act)["state"]) != "running"


async def test_what_was_forecast_is_what_happens(world: RebuildWorld, nursery: trio.Nursery) -> None:
    """With a replica that takes the letters as they come back."""
    world.connect()
    dead = {"status": "DEAD_LETTER", "failure_code": "EXHAUSTED"}
    for number in (1, 2, 3, 4, 4, 5):
        item(world, number, **dead)
    item(world, 6, payload=Jsonb({"event": {}}), status="DEAD_LETTER", failure_code="BAD_PAYLOAD")
    item(world, 7, workspace_id=UUID(int=77), **dead)
    floor = "insert into sync_sources (workspace_id, source_key, floor_seq) values (%s, %s, 1000000)"
    world.execute(floor, WORKSPACE, key(5))
    site = await DatabaseSite(world.database.reactor).open(nursery)
    told = await site.document("/dead/requeue")
    assert {fate: told[fate] for fate in FATES if told[fate]} == {
        "sent": 4,
        "overtaken": 1,
        "outdated": 1,
        "refused": 1,
        "parked": 1,
    }
    await start(world, nursery)
    await site.post("/dead/requeue", {**await form(site), "rate": "1000"})

    def found() -> Counter[str]:
        return Counter(text for [text] in world.execute("select concat_ws(' ', status, failure_code) from sync_outbox"))

    happened = {
        "COMPLETED": told["sent"],
        "COMPLETED SUPERSEDED": told["outdated"] + told["overtaken"],
        "DEAD_LETTER BAD_PAYLOAD": told["refused"],
        "PENDING": told["parked"],
    }
    await until(lambda: found() == happened)


async def test_a_run_is_recorded_with_its_forecast(rows: Rows, site: DatabaseSite) -> None:
    items = {about: die(rows, about) for about in ("sent", "outdated", "overtaken", "parked")}
    items["parked"] = die(rows, "p", of="stranger")
    floor(rows, "outdated", 1_000_000)
    rows.insert("overtaken", payload=EVENT)
    sent = await form(site, "/dead/requeue?code=exhausted")
    told = await site.document("/dead/requeue?code=exhausted")
    late = die(rows, "late")
    other = die(rows, "other", "AUTH")
    act = await site.post("/dead/requeue", sent)
    await until(lambda: ended(rows, act))
    found = await site.document(act)
    assert (found["who"], found["how"], found["reason"]) == ("ada", "console", "it is mended")
    assert found["target"]["code"] == "EXHAUSTED"
    assert {"found": found["forecast"].pop("found"), **found["forecast"]} == {
        name: told[name] for name in ("found", "sent", "parked", "outdated", "overtaken") if told[name]
    }
    assert (found["result"]["state"], found["result"]["done"], found["result"]["of"]) == ("done", 5, 5)
    assert {rows.status(item) for item in items.values()} == {("PENDING", 0, None)}
    assert rows.status(late)[0] == "DEAD_LETTER", "it died after the forecast was shown"
    assert rows.status(other)[0] == "DEAD_LETTER"
    page = await site.get(act)
    assert "done, 5 of 5" in page
    assert "<progress" in page
    assert "before its next portion" not in page


async def test_a_run_is_stopped_in_the_middle_and_one_runs_at_a_time(rows: Rows, site: DatabaseSite) -> None:
    items = [die(rows, str(number), last_error="Google is away") for number in range(20)]
    sent = await form(site)
    act = await site.post("/dead/requeue", {**sent, "rate": "5"})
    await until(lambda: result(rows, act)["done"] > 1)
    assert "Another requeue is under way" in await site.post("/dead/requeue", sent, 422)
    page = await site.get(act)
    assert "running, " in page
    assert "of 20" in page
    assert await site.post(act, {"reason": "the calendar is full"}) == act
    await until(lambda: ended(rows, act))
    said = result(rows, act)
    assert said["state"] == "stopped"
    assert 1 < said["done"] == rows.one(BACK) < 20
    left = [rows.row(item) for item in items if rows.status(item)[0] == "DEAD_LETTER"]
    assert {(row["failure_code"], row["last_error"]) for row in left} == {("EXHAUSTED", "Google is away")}
    assert "Go on with the rest" in await site.get(act)
    again = await site.post("/dead/requeue", {**await form(site), "rate": "1000"})
    await until(lambda: ended(rows, again))
    assert rows.one(BACK) == 20
    assert [each["act"] for each in (await site.document("/acts"))["acts"]] == ["requeue", "stop", "requeue"]


async def test_a_slow_run_is_stopped_between_two_portions(
    rows: Rows, site: DatabaseSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requeue_worker, "SIGN_EVERY", 0.05)
    for number in range(3):
        die(rows, str(number))
    act = await site.post("/dead/requeue", {**await form(site), "rate": "0.1"})
    await until(lambda: result(rows, act)["done"] == 1)
    sign = result(rows, act)["at"]
    await until(lambda: result(rows, act)["at"] > sign)
    await site.post(act, {"reason": "enough"})
    await until(lambda: ended(rows, act), 8)
    assert (result(rows, act)["state"], rows.one(BACK)) == ("stopped", 1)


async def test_a_run_goes_on_where_its_session_has_died(
    rows: Rows, site: DatabaseSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session is ended again and again: what is counted is what was put back."""
    monkeypatch.setattr(requeue_worker, "_BETWEEN", 0.01)
    for number in range(60):
        die(rows, str(number))
    act = await site.post("/dead/requeue", {**await form(site), "rate": "60"})
    end = (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where datname = current_database() and application_name like '%% console'"
    )
    while not ended(rows, act):
        assert rows.one(end + " and datname = current_database()") <= 2
        done = result(rows, act)["done"]
        assert done <= rows.one(BACK)
        await until(lambda done=done: result(rows, act)["done"] > done or ended(rows, act))  # type: ignore[misc]
    assert (result(rows, act)["state"], result(rows, act)["done"], rows.one(BACK)) == ("done", 60, 60)


async def test_what_is_committed_is_counted_and_nothing_else(
    rows: Rows, site: DatabaseSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some commits fail; of others the answer is lost."""
    monkeypatch.setattr(requeue_worker, "_BETWEEN", 0.01)
    for number in range(90):
        die(rows, str(number))
    rows.connection.execute(FAILS.replace("{when}", "nextval('public.tries') % 50 in (1, 30)").encode())
    lose_answers(monkeypatch, every=3)
    act = await site.post("/dead/requeue", {**await form(site), "rate": "50"})
    while not ended(rows, act):
        await trio.sleep(0.01)
        assert result(rows, act)["done"] <= rows.one(BACK)
    assert (result(rows, act)["state"], result(rows, act)["done"], rows.one(BACK)) == ("done", 90, 90)


@pytest.mark.parametrize("is_written", [False, True])
async def test_the_last_word_of_a_run_is_said_again(
    rows: Rows, site: DatabaseSite, monkeypatch: pytest.MonkeyPatch, is_written: object
) -> None:
    """Its session ends while it says how it ended: before that is written, or after."""
    monkeypatch.setattr(requeue_worker, "_BETWEEN", 0.01)
    end, said = ActRun.end, list[RunState]()

    def dies(run: ActRun, admin: AdminSession, state: RunState) -> None:
        said.append(state)
        if is_written or len(said) > 1:
            end(run, admin, state)
        if len(said) == 1:
            raise psycopg.OperationalError("the connection is lost")

    monkeypatch.setattr(ActRun, "end", dies)
    die(rows, "a")
    act = await site.post("/dead/requeue", await form(site))
    await until(lambda: len(said) > 1 and ended(rows, act))
    assert (result(rows, act)["state"], result(rows, act)["done"], rows.one(BACK)) == ("done", 1, 1)


@pytest.mark.parametrize("why", ["no commit", "no answer"])
async def test_a_run_that_is_given_up_counts_what_it_has_done(
    rows: Rows, site: DatabaseSite, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    monkeypatch.setattr(requeue_worker, "_BETWEEN", 0.01)
    for number in range(20):
        die(rows, str(number))
    if why == "no commit":
        when = "(select count(*) > 10 from sync_outbox where status = 'PENDING')"
        rows.connection.execute(FAILS.replace("{when}", when).encode())
    else:
        lose_answers(monkeypatch, every=1)
    act = await site.post("/dead/requeue", {**await form(site), "rate": "20"})
    await until(lambda: ended(rows, act))
    back = {"no commit": 8, "no answer": 4}[why]
    assert (result(rows, act)["state"], result(rows, act)["done"], rows.one(BACK)) == ("broken off", back, back)


def test_a_command_counts_no_portion_whose_commit_has_failed(database: Database, rows: Rows) -> None:
    for number in range(3):
        die(rows, str(number))
    rows.connection.execute(FAILS.replace("{when}", "true").encode())
    assert call(database.reactor, "dead-letters", "requeue", "--all").exit_code == 2
    assert (result(rows, "/acts/1")["state"], result(rows, "/acts/1")["done"], rows.one(BACK)) == ("broken off", 0, 0)


async def test_what_the_database_refuses_is_left(rows: Rows, site: DatabaseSite) -> None:
    good, bad = die(rows, "good"), die(rows, "bad")
    rows.connection.execute(f"alter table sync_outbox add constraint c check (id <> '{bad}' or status <> 'PENDING')")
    act = await site.post("/dead/requeue", await form(site))
    await until(lambda: ended(rows, act))
    assert (rows.status(good)[0], rows.status(bad)[0]) == ("PENDING", "DEAD_LETTER")
    assert (result(rows, act)["state"], result(rows, act)["done"]) == ("done", 1)
    assert "1 were locked, refused" in await site.get(act)


async def test_a_form_that_is_not_ours_begins_nothing(rows: Rows, site: DatabaseSite) -> None:
    item = die(rows, "a")
    sent = await form(site)
    for wrong in (
        {"rate": ""},
        {"rate": "0"},
        {"rate": "nan"},
        {"rate": "1001"},
        {"reason": " "},
        {"seen": ""},
        {"seen": "2026-01-01"},
        {"code": "x"},
        {"code": "AUTH"},
        {"workspace": "x"},
    ):
        await site.post("/dead/requeue", {**sent, **wrong}, 422)
    assert rows.status(item)[0] == "DEAD_LETTER"
    assert rows.one("select count(*) from sync_acts") == 0


async def begin(site: KnownBrowser, rows: Rows) -> str:
    """Begin a run of thirty letters, and let it come to a few."""
    for about in range(30):
        die(rows, str(about))
    act = await site.post("/dead/requeue", {**await form(site), "rate": "10"})
    await until(lambda: result(rows, act)["done"] > 2)
    return act


async def goes_on(site: DatabaseSite, rows: Rows, act: str) -> None:
    """It is shown as broken off, with what was done, and another run takes the rest."""
    back = rows.one(BACK)
    assert result(rows, act)["done"] == back
    assert 2 < back < 30
    page = await site.get(act)
    assert f"broken off, {back} of 30" in page
    assert "Go on with the rest" in page
    again = await site.post("/dead/requeue", {**await form(site), "rate": "1000"})
    await until(lambda: ended(rows, again))
    assert (rows.one(BACK), result(rows, again)["done"]) == (30, 30 - back)


async def test_a_console_that_is_stopped_says_so_of_its_run(database: Database, rows: Rows, site: DatabaseSite) -> None:
    async with trio.open_nursery() as other:
        act = await begin(await DatabaseSite(database.reactor).open(other), rows)
        other.cancel_scope.cancel()
    assert ended(rows, act)
    await goes_on(site, rows, act)


async def test_a_console_that_is_killed_is_seen_by_its_silence(
    database: Database, rows: Rows, site: DatabaseSite, tmp_path: Path
) -> None:
    with running(tmp_path, DATABASE_URL=database.reactor) as console:
        async with httpx.AsyncClient(base_url=console.url) as client:
            act = await begin(await KnownBrowser(client, console.links[0]).come(), rows)
        console.stop(signal.SIGKILL)
    assert result(rows, act)["state"] == "running"
    assert "Another requeue is under way" in await site.post("/dead/requeue", await form(site), 422)
    silence = "update sync_acts set result = result || jsonb_build_object('at', now() - interval '3 min')"
    rows.connection.execute(silence)
    await goes_on(site, rows, act)
