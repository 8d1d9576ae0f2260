"""psycopg under Trio: its asynchronous connection, waiting as Trio waits.

psycopg's work with a connection is written as generators that yield what they wait for; only the waiting belongs to
asyncio. `AsyncConnection.wait` runs such a generator, and it is all that we replace. The connection's lock is asyncio's
too. It needs an event loop only when two tasks want it at once, which a `Session` does not let happen.

The obvious alternative, blocking calls in worker threads, costs two changes of thread for each statement: 50 us of CPU
(python -m benchmarks session). A second cost is higher: in a busy process the thread waits for the interpreter before
it may send and again before it may read. Here the statement is sent before any other task runs.

We still connect with psycopg's blocking `connect`, in a thread: it resolves names, and has time-outs that hold.

**Cancellation.** psycopg's clean-up assumes that a cancellation comes once; Trio's stays. A generator that was
interrupted leaves its connection in the middle of a message. Such a connection must be closed and not used again, and
nothing may begin in a scope that is cancelled, not even a ROLLBACK.
"""

import os
import socket
from collections.abc import Awaitable, Callable
from typing import Any, LiteralString, Self, TypeVar

import psycopg
import trio
from psycopg.abc import PQGen
from psycopg.types.string import ByteaBinaryLoader
from psycopg.waiting import Ready, Wait

T = TypeVar("T")
Row = tuple[Any, ...]


class TrioConnection(psycopg.AsyncConnection[Row]):
    """A connection that was opened elsewhere and is used under Trio from now on; one task at a time."""

    def __init__(self, opened: psycopg.Connection[Row]) -> None:
        super().__init__(opened.pgconn)
        # As its bytes: the server stores JSON that Python cannot read, and one such row must not fail all.
        self.adapters.register_loader("jsonb", ByteaBinaryLoader)
        self._opened = opened  # without a reference, it would warn that it was not closed
        # libpq closes its descriptor by itself when it meets the end of the stream; a task that waits for it then
        # waits for ever, or for another descriptor of the same number. A duplicate of our own stays what it is.
        self._socket = socket.socket(fileno=os.dup(opened.fileno()))
        self._kept: dict[str, psycopg.AsyncCursor[Row]] = {}

    def kept(self, statement: LiteralString) -> psycopg.AsyncCursor[Row]:
        """The cursor for a statement that is run again and again; its values come in binary.

        psycopg keeps in it how the statement's parameters and columns are converted, and to find that out is a quarter
        of what it does for a claim of one item. The cursor keeps the last result too, until it runs again.
        """
        if statement not in self._kept:
            self._kept[statement] = self.cursor(binary=True)
        return self._kept[statement]

    @classmethod
    async def adopt(cls, opened: psycopg.Connection[Row]) -> Self:
        """Take over a blocking connection, which must not be used any more and is closed with this one."""
        adopted = cls(opened)
        with trio.CancelScope(shield=True):  # it asks the server nothing
            await adopted.set_autocommit(opened.autocommit)
        return adopted

    async def wait(self, gen: PQGen[T], *_args: Any, **_kwargs: Any) -> T:
        """Run a generator of psycopg's; it bounds nothing, deadlines are Trio's."""
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            wanted = next(gen)
            while True:
                wanted = gen.send(await self._until(wanted))
        except StopIteration as over:
            result: T = over.value
            return result

    async def _until(self, wanted: Wait) -> Ready:
        if wanted == Wait.R:
            await trio.lowlevel.wait_readable(self._socket)
            return Ready.R
        if wanted == Wait.W:
            await trio.lowlevel.wait_writable(self._socket)
            return Ready.W
        return await self._until_either()

    async def _until_either(self) -> Ready:
        """Wait for either direction: a statement is larger than what the socket takes, and the server may talk too."""
        ready = Ready.NONE

        async def await_one(wait: Callable[[socket.socket], Awaitable[None]], answer: Ready) -> None:
            nonlocal ready
            await wait(self._socket)
            ready = Ready(ready | answer)
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(await_one, trio.lowlevel.wait_readable, Ready.R)
            nursery.start_soon(await_one, trio.lowlevel.wait_writable, Ready.W)
        return ready

    async def close(self) -> None:
        """Close the connection; no task may be waiting in it."""
        await super().close()
        self._socket.close()
