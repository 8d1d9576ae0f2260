"""Shows a running demo in two ways: a live screen, and plain lines.

The screen fills the terminal: 24 lines have room for everything, and more lines show more steps and events.
"""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import trio
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reactor.demo.faults import FaultPlayer
from reactor.demo.google import DemoAccount, Google
from reactor.demo.stats import DemoStats, Latencies, percentile

_EACH = 8.0  # seconds for which one calendar is shown


@dataclass(slots=True)
class Scene:
    """Everything that a view reads.

    Attributes:
        items: After how many rows the demo ends, None for never.
        phase: What the demo is doing.
        steps: What the people at the application did last, newest first.
        console: The link to the operator's pages, which is good once; empty without them.
    """

    items: int | None
    stats: DemoStats
    google: Google
    faults: FaultPlayer
    phase: str = ""
    steps: deque[str] = field(default_factory=lambda: deque(maxlen=12))
    console: str = ""

    def show_console(self, link: str) -> None:
        """Show another link to the operator's pages."""
        self.console = link

    @property
    def account(self) -> DemoAccount:
        """Whose calendar is shown now; each has its turn."""
        accounts = self.google.accounts
        return accounts[int(self.stats.seconds / _EACH) % len(accounts)]

    def events(self, account: DemoAccount) -> list[dict[str, Any]]:
        """What a calendar holds, the latest change first."""
        return sorted(self.google.emulator.events(account.calendar_id), key=lambda e: str(e["updated"]), reverse=True)


def when(event: dict[str, Any]) -> str:
    """When an event is, for people: a day, or a day and a time."""
    start = event["start"]
    if "date" in start:
        return str(start["date"])
    return datetime.fromisoformat(start["dateTime"]).strftime("%Y-%m-%d %H:%M")


def facts(scene: Scene) -> Iterator[tuple[str, str]]:
    """The figures with their names, the most important first."""
    stats, outbox = scene.stats, scene.stats.outbox
    yield "rows", f"{stats.rows}" + (f" of {scene.items}" if scene.items else "")
    yield "wake", _latency(stats.wakes)
    yield "done", f"{outbox.done}"
    yield "all rows", _latency(stats.latencies)
    yield "superseded", f"{outbox.superseded}"
    yield "requests", f"{stats.requests}"
    yield "in flight", f"{outbox.in_flight}"
    yield "retries", f"{outbox.attempts}"
    yield "waiting", f"{outbox.waiting}"
    yield "dead letters", f"{outbox.dead}"


def _latency(latencies: Latencies) -> str:
    recent = sorted(latencies.recent)
    return f"p50 {milliseconds(recent, 0.5)}, p95 {milliseconds(recent, 0.95)}"


def milliseconds(ordered: list[float], part: float) -> str:
    """A percentile of latencies for people."""
    seconds = percentile(ordered, part)
    return "-" if seconds is None else f"{seconds * 1000:.0f} ms" if seconds >= 0.0995 else f"{seconds * 1000:.1f} ms"


_BARS = "▁▂▃▄▅▆▇█"
_COLORS = {"5": "yellow", "9": "blue", "10": "green", "11": "red"}  # Google's palette, as far as a terminal has it
_FIXED = 15  # lines of all that has a fixed height: the title, five figures with throughput and trouble, borders, heads
_STEPS = 3
_LOW = 24  # lines; of what a terminal has above that, a quarter shows steps


class Screen:
    """A picture of the scene as it is when it is drawn."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Draw the screen; called by rich."""
        height, width = options.height or console.height, options.max_width
        steps = _STEPS + max(0, height - _LOW) // 4
        yield self._title()
        if self._scene.console:
            height -= 1
            yield Text.assemble(("console  ", "dim"), self._scene.console, no_wrap=True, overflow="ellipsis")
        stats = Group(self._facts(), self._throughput(width - 24), self._trouble())
        yield _panel(stats, "reactor; wake: from commit to request, when it was asleep")
        yield _panel(self._steps(steps), "application; sample data: CPython's releases (PEP 664, 693, 719, 745)")
        yield self._calendar(max(1, height - _FIXED - steps))

    def _title(self) -> Table:
        minutes, seconds = divmod(int(self._scene.stats.seconds), 60)
        table = Table.grid(expand=True, padding=(0, 1))
        table.add_column(no_wrap=True)
        table.add_column(justify="right", no_wrap=True)
        left = Text.assemble(("calendar-sync reactor", "bold"), "  ", (self._scene.phase, "cyan"))
        table.add_row(left, Text(f"{minutes}:{seconds:02}   Ctrl-C stops", style="dim"))
        return table

    def _facts(self) -> Table:
        table = Table.grid(expand=True, padding=(0, 1))
        for _ in range(2):
            table.add_column(width=13, style="dim", no_wrap=True)
            table.add_column(ratio=1, style="bold", no_wrap=True)
        pairs = list(facts(self._scene))
        for left, right in zip(pairs[::2], pairs[1::2], strict=True):
            table.add_row(*left, *right)
        return table

    def _throughput(self, width: int) -> Text:
        settled = list(self._scene.stats.per_second)[-width:]
        highest = max([*settled, 1])
        bars = "".join(_BARS[(len(_BARS) - 1) * max(count, 0) // highest] for count in settled)
        now = f" {settled[-1]}/s" if settled else ""
        return Text.assemble((f"{'settled':<13} ", "dim"), (bars, "cyan"), (now, "bold"), no_wrap=True)

    def _trouble(self) -> Text:
        if current := self._scene.faults.current:
            return Text.assemble((f"{'trouble':<13} ", "dim"), (current, "bold red"), no_wrap=True, overflow="ellipsis")
        healed = self._scene.faults.healed.total()
        return Text.assemble((f"{'trouble':<13} ", "dim"), f"none; {healed} healed", no_wrap=True)

    def _steps(self, lines: int) -> Text:
        shown = list(self._scene.steps)[:lines]
        shown += [""] * (lines - len(shown))
        return Text("\n".join(shown), no_wrap=True, overflow="ellipsis")

    def _calendar(self, lines: int) -> Panel:
        account = self._scene.account
        events = self._scene.events(account)
        table = Table(box=None, expand=True, padding=(0, 1), header_style="dim", pad_edge=False)
        table.add_column("when", width=16, no_wrap=True)
        table.add_column(f"what ({len(events)} events, the latest change first)", ratio=1, no_wrap=True)
        table.add_column("rev", justify="right", width=4)
        for event in events[:lines]:
            style = _COLORS.get(event.get("colorId", ""), "dim")
            table.add_row(when(event), Text(event["summary"], style=style), f"{event['sequence']}")
        for _ in range(lines - len(events)):
            table.add_row("", "", "")
        return _panel(table, f"Google Calendar of {account.name}")


def _panel(content: Group | Text | Table, title: str) -> Panel:
    return Panel(content, title=title, title_align="left", box=box.ROUNDED, border_style="dim", padding=(0, 1))


_FRAME = 0.125  # seconds
_LINE = 1.0  # seconds


def line(scene: Scene) -> str:
    """The figures in one line."""
    parts = [f"{name} {value}" for name, value in facts(scene)]
    trouble = scene.faults.current
    return " | ".join([scene.phase, *parts, *([f"trouble: {trouble}"] if trouble else [])])


async def show_lines(scene: Scene, say: Callable[[str], object]) -> None:
    """Say a line every second, and whenever a trouble comes or goes, until cancelled."""
    last, until, console = None, 0.0, ""
    while True:
        if scene.console != console:
            console = scene.console
            say(f"The console: {console}")
        seen = (scene.phase, scene.faults.current)
        if seen != last or trio.current_time() >= until:
            say(line(scene))
            last, until = seen, trio.current_time() + _LINE
        await trio.sleep(_FRAME)


async def show_screen(scene: Scene, console: Console) -> None:
    """Redraw the terminal until cancelled, and give it back as it was.

    The terminal may be slow or stopped (Ctrl-S), so it is written to in a thread.
    """
    live = Live(Screen(scene), console=console, screen=True, auto_refresh=False, transient=True)
    with live:
        while True:
            await trio.to_thread.run_sync(live.refresh)
            await trio.sleep(_FRAME)
