"""Three ways to follow a demo: a live screen, plain lines, nothing."""

from collections.abc import Callable

import trio
from rich.console import Console
from rich.live import Live

from reactor.demo.scene import Scene, facts
from reactor.demo.screen import Screen

View = Callable[[Scene], object]

_FRAME = 0.125  # seconds
_LINE = 1.0  # seconds


def line(scene: Scene) -> str:
    """The figures in one line."""
    parts = [f"{name} {value}" for name, value in facts(scene)]
    trouble = scene.troubles.current
    return " | ".join([scene.phase, *parts, *([f"trouble: {trouble}"] if trouble else [])])


async def show_lines(scene: Scene, say: Callable[[str], object]) -> None:
    """Say a line every second, and whenever a trouble comes or goes, until cancelled."""
    last, until = None, 0.0
    while True:
        seen = (scene.phase, scene.troubles.current)
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
