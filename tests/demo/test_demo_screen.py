"""What the demo shows fits the terminal and says what there is."""

from datetime import UTC, datetime
from random import Random
from typing import Any, cast

import pytest
from rich.console import Console

from calendar_emulator import Emulator, Exchange
from reactor.demo.faults import FaultPlayer
from reactor.demo.google import Google
from reactor.demo.sample import schedules
from reactor.demo.scenario import Scenario
from reactor.demo.screen import Scene, Screen, line
from reactor.demo.stats import DemoStats, OutboxCounts


@pytest.fixture
def scene() -> Scene:
    google = Google(Emulator(rng=Random(1)), Scenario(schedules(), 1).workspaces)
    account = google.accounts[0]
    calendar = google.emulator.calendar(account.calendar_id)
    for n in range(40):
        body = {"summary": f"Event {n:02} " + 200 * "x", "start": {"date": "2024-05-08"}, "end": {"date": "2024-05-09"}}
        calendar.insert(body, who="x", new_id=f"event{n:02}", now=datetime(2030, 1, 1, tzinfo=UTC).timestamp() + n)
    stats = DemoStats()
    stats.rows, stats.requests = 30, 15
    stats.outbox = OutboxCounts(done=11, superseded=12, dead=13, in_flight=14, waiting=15, attempts=16)
    for seq in (1, 2):  # a calendar's first row is no wake
        stats.committed(range(seq, seq + 1), 10.0, healthy=True, idle=True)
        stats.observe(Exchange(seq, 10.0042, "insert", "POST", "/", {}, calendar="x", body=_numbered(seq)))
    stats.per_second.extend(range(100))
    faults = FaultPlayer(google, cast("Any", None), 0)
    faults.current = "Google answers 503"
    steps = [f"step {n}" for n in range(12)]
    made = Scene(500, stats, google, faults, phase="people plan their releases")
    made.steps.extend(steps)
    return made


def _numbered(seq: int) -> dict[str, Any]:
    return {"extendedProperties": {"private": {"reactorSeq": str(seq)}}}


LINK = f"http://127.0.0.1:65535/?key={43 * 'k'}"


@pytest.mark.parametrize("link", ["", LINK])
@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40), (60, 24), (200, 60)])
def test_the_screen_fills_the_terminal_exactly(scene: Scene, width: int, height: int, link: str) -> None:
    scene.show_console(link)
    console = Console(width=width, height=height, record=True, file=open("/dev/null", "w"))  # noqa: PTH123, SIM115
    with console.file:
        console.print(Screen(scene))
    lines = console.export_text().splitlines()
    assert len(lines) == height
    assert max(map(len, lines)) <= width


def test_everything_important_fits_the_smallest_terminal(scene: Scene) -> None:
    scene.show_console(LINK)
    console = Console(width=80, height=24)
    with console.capture() as captured:
        console.print(Screen(scene))
    text = captured.get()
    for wanted in (
        "32 of 500",  # rows
        "wake          p50 4.2 ms, p95 4.2 ms",
        "done          11",
        "superseded    12",
        "dead letters  13",
        "in flight     14",
        "waiting       15",
        "retries       16",
        "99/s",
        "Google answers 503",
        "step 0",
        "Google Calendar of Python 3.11",
        "42 events",
        "Event 39",  # the latest change
        LINK,
    ):
        assert wanted in text, wanted


def test_a_plain_line_says_the_same(scene: Scene) -> None:
    said = line(scene)
    assert "\n" not in said
    assert "rows 32 of 500 | wake p50 4.2 ms, p95 4.2 ms | done 11 |" in said
    assert said.endswith("trouble: Google answers 503")
