"""The demo on a terminal: figures, what goes wrong, what people do, what one calendar holds.

It fills the terminal: 24 lines have room for everything, and what there is more shows more steps and more events.
"""

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from reactor.demo.scene import Scene, facts, when

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
        """Draw."""
        height, width = options.height or console.height, options.max_width
        steps = _STEPS + max(0, height - _LOW) // 4
        yield self._title()
        figures = Group(self._facts(), self._throughput(width - 24), self._trouble())
        yield _panel(figures, "reactor; wake: from commit to request, when it was asleep")
        yield _panel(self._steps(steps), "application; sample data: CPython's releases (PEP 664, 693, 719, 745)")
        yield self._calendar(max(1, height - _FIXED - steps))

    def _title(self) -> Table:
        minutes, seconds = divmod(int(self._scene.figures.seconds), 60)
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
        settled = list(self._scene.figures.per_second)[-width:]
        highest = max([*settled, 1])
        bars = "".join(_BARS[(len(_BARS) - 1) * max(count, 0) // highest] for count in settled)
        now = f" {settled[-1]}/s" if settled else ""
        return Text.assemble((f"{'settled':<13} ", "dim"), (bars, "cyan"), (now, "bold"), no_wrap=True)

    def _trouble(self) -> Text:
        if current := self._scene.troubles.current:
            return Text.assemble((f"{'trouble':<13} ", "dim"), (current, "bold red"), no_wrap=True, overflow="ellipsis")
        healed = self._scene.troubles.healed.total()
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
