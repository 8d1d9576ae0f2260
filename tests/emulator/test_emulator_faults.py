"""The emulator's fault plan: everything a network and a busy service do, on demand."""

import random
from collections import Counter
from dataclasses import replace
from typing import Any

import httpx
import pytest
import trio

from calendar_emulator import Emulator, Fault, Service, WireFaultError, application
from calendar_emulator.faults import FaultPlan, Target
from tests.support.emulator_batches import batch_of, parts_of
from tests.support.google_fixtures import USER, GoogleServer

EVENTS = "calendar/v3/calendars/primary/events"
BATCH = "batch/calendar/v3"
BODY: dict[str, Any] = {
    "start": {"dateTime": "2026-12-01T09:00:00Z"},
    "end": {"dateTime": "2026-12-01T10:00:00Z"},
}


def insert(number: int) -> tuple[str, str, dict[str, Any]]:
    return "POST", EVENTS, {"id": f"event{number:02}", **BODY}


@pytest.mark.parametrize("commit", [0.0, 1.0])
@pytest.mark.parametrize("effect", ["drop", "malformed"])
async def test_an_answer_is_lost(
    google: GoogleServer, google_http: httpx.AsyncClient, effect: Any, commit: float
) -> None:
    google.emulator.fault(Fault(operation="insert", effect=effect, commit=commit))
    with pytest.raises(httpx.RemoteProtocolError):
        await google_http.post(EVENTS, json=BODY)
    assert len(google.emulator.events(USER)) == commit
    (entry,) = google.emulator.log.entries
    assert (entry.status, entry.effect, entry.committed) == (0, effect, bool(commit))
    assert (await google_http.get(EVENTS)).status_code == 200, "the next connection works"


async def test_a_body_is_cut_off(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    google.emulator.fault(Fault(operation="insert", effect="truncate"))
    with pytest.raises(httpx.RemoteProtocolError, match=r"incomplete|without sending complete"):
        await google_http.post(EVENTS, json=BODY)
    assert len(google.emulator.events(USER)) == 1


@pytest.mark.parametrize("effect", ["length", "garbage"])
async def test_a_body_is_no_json(google: GoogleServer, google_http: httpx.AsyncClient, effect: Any) -> None:
    google.emulator.fault(Fault(operation="insert", effect=effect))
    answer = await google_http.post(EVENTS, json=BODY)
    assert answer.status_code == 200
    with pytest.raises(ValueError, match=r"(?i)expecting|unterminated"):
        answer.json()
    assert len(google.emulator.events(USER)) == 1


async def test_a_proxy_answers_instead(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    google.emulator.fault(Fault(effect="html", status=503, retry_after="120"))
    answer = await google_http.post(EVENTS, json=BODY)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "120")
    assert answer.headers["content-type"].startswith("text/html")
    assert google.emulator.events(USER) == []


@pytest.mark.parametrize("front_end", [True, False])
async def test_an_error_is_told_in_either_shape(
    google: GoogleServer, google_http: httpx.AsyncClient, *, front_end: bool
) -> None:
    fault = Fault(operation="insert", effect="error", reason="rateLimitExceeded", status=429, retry_after="5")
    google.emulator.fault(replace(fault, front_end=front_end))
    answer = await google_http.post(EVENTS, json=BODY)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, "5")
    assert ("status" in answer.json()["error"]) is front_end


async def test_an_error_may_follow_the_commit(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    google.emulator.fault(Fault(operation="insert", effect="error", status=503, commit=1.0))
    answer = await google_http.post(EVENTS, json=BODY)
    assert answer.json()["error"]["errors"][0]["reason"] == "backendError"
    assert len(google.emulator.events(USER)) == 1


async def test_latency_may_lie_before_or_after_the_commit(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    google.emulator.fault(Fault(operation="insert", event_prefix="before", latency=60))
    google.emulator.fault(Fault(operation="insert", event_prefix="behind", latency_after=60))

    async def give_up(event_id: str) -> None:
        with pytest.raises(httpx.ReadTimeout):
            await google_http.post(EVENTS, json={"id": event_id, **BODY}, timeout=0.2)

    async with trio.open_nursery() as nursery:
        for event_id in ("before00", "behind00", "behind11"):
            nursery.start_soon(give_up, event_id)
    assert sorted(event["id"] for event in google.emulator.events(USER)) == ["behind00", "behind11"]
    assert google.emulator.log.peak == 3


@pytest.mark.parametrize(
    ("effect", "status"), [("error", 503), ("html", 502), ("garbage", 200), ("truncate", None), ("length", None)]
)
async def test_one_part_of_a_batch_goes_wrong(
    google: GoogleServer, google_http: httpx.AsyncClient, effect: Any, status: int | None
) -> None:
    google.emulator.fault(Fault(event_prefix="event02", in_batch=True, effect=effect))
    content, headers = batch_of(*map(insert, range(5)))
    answer = await google_http.post(BATCH, content=content, headers=headers)
    parts = parts_of(answer)
    assert [part.content_id for part in parts] == [f"<response-item{n}>" for n in range(5)]
    assert [part.status for part in parts] == [200, 200, status or 200, 200, 200]
    assert [part.json is not None for part in parts] == [True, True, effect == "error", True, True]


async def test_a_part_of_a_batch_is_missing(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    google.emulator.fault(Fault(event_prefix="event02", effect="drop", commit=1.0))
    content, headers = batch_of(*map(insert, range(4)))
    parts = parts_of(await google_http.post(BATCH, content=content, headers=headers))
    assert [part.content_id for part in parts] == [f"<response-item{n}>" for n in (0, 1, 3)]
    assert len(google.emulator.events(USER)) == 4


async def test_a_part_of_a_batch_is_no_http(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    google.emulator.fault(Fault(event_prefix="event01", effect="malformed"))
    content, headers = batch_of(*map(insert, range(3)))
    parts = parts_of(await google_http.post(BATCH, content=content, headers=headers))
    assert [part.status for part in parts] == [200, None, 200]


async def test_a_part_of_a_batch_is_throttled(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    google.emulator.quota.user = 3
    content, headers = batch_of(*map(insert, range(5)))
    answer = await google_http.post(BATCH, content=content, headers=headers)
    assert answer.status_code == 200
    assert Counter(part.status for part in parts_of(answer)) == {200: 3, 403: 2}


async def test_a_whole_batch_is_refused(google: GoogleServer, google_http: httpx.AsyncClient) -> None:
    google.emulator.fault(Fault(operation="batch", effect="error", status=503))
    content, headers = batch_of(*map(insert, range(5)))
    answer = await google_http.post(BATCH, content=content, headers=headers)
    assert answer.status_code == 503
    assert google.emulator.events(USER) == []


@pytest.mark.parametrize("commit", [0.0, 0.5, 1.0])
async def test_a_batch_is_lost_after_some_of_it_was_carried_out(
    google: GoogleServer, google_http: httpx.AsyncClient, commit: float
) -> None:
    google.emulator.fault(Fault(operation="batch", effect="drop", commit=commit))
    content, headers = batch_of(*map(insert, range(40)))
    with pytest.raises(httpx.RemoteProtocolError):
        await google_http.post(BATCH, content=content, headers=headers)
    stored = len(google.emulator.events(USER))
    assert stored == commit * 40 if commit in (0, 1) else 8 < stored < 32


async def test_without_a_wire_a_lost_answer_is_an_exception(emulator: Emulator) -> None:
    emulator.fault(Fault(effect="drop"))
    transport = httpx.ASGITransport(application(Service(emulator)))
    async with httpx.AsyncClient(transport=transport, base_url="http://emulator") as client:
        with pytest.raises(WireFaultError, match="drop"):
            await client.get(EVENTS)


# The plan itself


def verdicts(plan: FaultPlan, *targets: Target, now: float = 0.0) -> list[str]:
    return [verdict.fault.effect if (verdict := plan.judge(target, now)).fault else "" for target in targets]


INSERT = Target("insert", "c1", "abc")


@pytest.mark.parametrize(
    ("fault", "hit", "missed"),
    [
        (Fault(operation="insert", effect="drop"), INSERT, Target("update", "c1", "abc")),
        (Fault(calendar="c1", effect="drop"), INSERT, Target("insert", "c2", "abc")),
        (Fault(event_prefix="ab", effect="drop"), INSERT, Target("insert", "c1", "bab")),
        (Fault(in_batch=False, effect="drop"), INSERT, Target("insert", "c1", "abc", in_batch=True)),
        (Fault(in_batch=True, effect="drop"), Target("insert", in_batch=True), INSERT),
    ],
)
def test_a_rule_is_about_some_calls_only(fault: Fault, hit: Target, missed: Target) -> None:
    plan = FaultPlan(random.Random(0))
    rule = plan.add(fault)
    assert verdicts(plan, missed, hit) == ["", "drop"]
    assert (rule.seen, rule.fired) == (1, 1)
    plan.remove(rule)
    assert verdicts(plan, hit) == [""]


def test_a_rule_counts_and_stops() -> None:
    plan = FaultPlan(random.Random(0))
    plan.add(Fault(nth=2, effect="drop"))
    plan.add(Fault(times=2, effect="html"))
    assert verdicts(plan, *[INSERT] * 5) == ["html", "drop", "html", "", ""]


def test_a_rule_keeps_its_hours() -> None:
    plan = FaultPlan(random.Random(0))
    plan.add(Fault(after=10, until=20, effect="drop"))
    assert [verdicts(plan, INSERT, now=now) for now in (9, 10, 19, 20)] == [[""], ["drop"], ["drop"], [""]]


def test_latencies_add_up_and_the_first_effect_decides() -> None:
    plan = FaultPlan(random.Random(0))
    for fault in (Fault(latency=1), Fault(effect="drop", latency=2), Fault(effect="html", latency=4), Fault(latency=8)):
        plan.add(fault)
    verdict = plan.judge(INSERT, 0.0)
    assert verdict.fault
    assert (verdict.fault.effect, verdict.before) == ("drop", 11)


def test_chance_is_repeatable() -> None:
    def run(seed: int) -> list[str]:
        plan = FaultPlan(random.Random(seed))
        plan.add(Fault(probability=0.3, effect="drop"))
        return verdicts(plan, *[INSERT] * 200)

    assert run(1) == run(1)
    assert run(1) != run(2)
    assert 30 < run(1).count("drop") < 90
