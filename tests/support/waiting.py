"""Waiting for what cannot be awaited: a row, a process, an event in a calendar."""

from collections.abc import Callable

import trio


async def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Look again and again until it is so."""
    with trio.move_on_after(seconds):
        while not condition():  # noqa: ASYNC110  (what happens elsewhere sets no event)
            await trio.sleep(0.01)
        return
    raise AssertionError(f"it did not happen within {seconds:g} s")
