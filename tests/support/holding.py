"""A hand on the wire to Google: a request that is held there until it is let go, whoever still waits for its answer."""

import trio

from calendar_emulator.http.app import Application, Receive, Scope, Send


class Holding:
    """An ASGI application in front of another.

    Attributes:
        held: How many requests are being held.
    """

    def __init__(self, app: Application) -> None:
        self._app = app
        self._method: str | None = None
        self._go = trio.Event()
        self.held = 0

    def hold(self, method: str) -> None:
        """Hold the next request with this method."""
        self._method = method
        self._go = trio.Event()

    def release(self) -> None:
        """Let go what is held."""
        self._go.set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A token is fetched by POST too; what is meant is what changes a calendar.
        if scope["method"] == self._method and "/calendars/" in scope["path"]:
            self._method = None
            self.held += 1
            await self._go.wait()
            self.held -= 1
        await self._app(scope, receive, send)
