"""The least that a wake can be: programs with nothing in them but LISTEN, one claim and one request.

*A socket* and *httpx* block: psycopg as it is, and a request that is written to an open socket, or sent by httpx.
*Trio, our claim* waits as the reactor does: psycopg under Trio, and a request by httpcore on an open connection. *Trio,
an UPDATE* is the same with the least claim that there is, an UPDATE of the row that is waiting. So the last one is what
Python and its libraries take, the one before it what our claim adds, and the rest of a wake is ours.

All but httpx tell the CPU that they take from a notification to the moment when a request is handed to the socket.
"""

import json
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from multiprocessing import get_context
from typing import Any, LiteralString

import httpcore
import httpx
import psycopg
import trio

from reactor.google.wire import ApiEndpoint, Body
from reactor.postgres.connection.driver import TrioConnection
from reactor.postgres.statements import statements

CLAIM: dict[str, Any] = {
    "workspaces": None,
    "cursors": None,
    "past": None,
    "width": 32,
    "excluded": [],
    "slots": 200,
    "due_rows": 400,
    "key_rows": 512,
    "ceiling": 5,
    "lease": 1,
    "trial": False,
    "bytes": 8_000_000,
    "largest": 262_144,
}
FINISH = "update sync_outbox set status = 'COMPLETED', processed_at = now() where id = %s and lease_no = %s"
UPDATE: LiteralString = """
update sync_outbox
   set status = 'PROCESSING', lease_no = 1
 where id = any (array(select id from sync_outbox where status in ('PENDING', 'FAILED') for update skip locked))
returning id, null, null, null, null, payload
"""
PATH = "/calendar/v3/calendars/primary/events"
REQUEST = (
    b"POST /calendar/v3/calendars/primary/events HTTP/1.1\r\nHost: stub\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s"
)
FLOORS = ("a socket", "httpx", "Trio, our claim", "Trio, an UPDATE")


def blocking(pipe: Any, dsn: str, google: str, *, library: bool) -> None:
    """Listen, claim and send, and block meanwhile; ends with its process."""
    host, _, port = google.removeprefix("http://").partition(":")
    with (
        httpx.Client() as client,
        socket.create_connection((host, int(port))) as http,
        psycopg.connect(dsn, autocommit=True) as listening,
        psycopg.connect(dsn, autocommit=True) as claims,
    ):
        http.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        gate = statements("gate")
        listening.execute(gate["listen"])
        listening.execute(gate["ask"])
        claim = statements("outbox")["claim"]
        for _ in range(10):  # prepares it
            claims.execute(claim, CLAIM).fetchall()
        client.get(f"{google}/seen")  # opens the connection
        pipe.send("ready")
        while True:
            select.select([listening.fileno()], [], [])  # it never gives G back, so each writer calls
            began = time.thread_time()
            for _ in listening.notifies(timeout=0):
                pass
            for row in claims.execute(claim, CLAIM).fetchall():
                if row[0] is None:
                    continue
                body = json.dumps(row[5]).encode()
                if library:
                    client.post(f"{google}{PATH}", content=body)
                else:
                    request, spent = REQUEST % (len(body), body), time.thread_time() - began
                    http.sendall(request)
                    http.recv(4096)
                    pipe.send(spent)
                claims.execute(FINISH, (row[0], 1))


def under_trio(pipe: Any, dsn: str, google: str, *, claim: LiteralString, params: dict[str, Any]) -> None:
    """Listen, claim and send, and wait as the reactor does; ends with its process."""
    began = spent = 0.0
    send_all = trio.SocketStream.send_all

    async def noting(self: trio.SocketStream, data: bytes | bytearray | memoryview) -> None:
        nonlocal spent
        spent = time.thread_time() - began
        await send_all(self, data)

    async def main() -> None:
        nonlocal began
        listening, claims = [await TrioConnection.adopt(psycopg.connect(dsn, autocommit=True)) for _ in range(2)]
        await claims.execute("set enable_seqscan = off")
        gate = statements("gate")
        await listening.execute(gate["listen"])
        await listening.execute(gate["ask"])
        cursor = claims.kept(claim)
        for _ in range(10):  # prepares it
            await cursor.execute(claim, params)
        url = httpcore.URL(google + PATH)
        wire = await ApiEndpoint(url.origin, None, None, 60.0).connect(5.0)
        pipe.send("ready")
        while True:
            await trio.lowlevel.wait_readable(listening.fileno())
            began = time.thread_time()
            listening.pgconn.consume_input()
            while listening.pgconn.notifies():
                pass
            await cursor.execute(claim, params)
            for row in await cursor.fetchall():
                if row[0] is None:
                    continue
                headers = [(b"Host", b"stub"), (b"Content-Length", b"%d" % len(row[5]))]
                request = httpcore.Request("POST", url, headers=headers, content=Body(row[5]))
                response = await wire.handle_async_request(request)
                await response.aread()
                await response.aclose()
                pipe.send(spent)
                await claims.execute(FINISH, (row[0], 1))

    trio.SocketStream.send_all = noting  # type: ignore[method-assign]  # where it leaves
    trio.run(main)


@contextmanager
def floor(name: str, dsn: str, google: str) -> Iterator[list[float]]:
    """Run one of `FLOORS` in a process of its own; when the block is over the list tells its CPU for each row."""
    programs = {
        "a socket": partial(blocking, library=False),
        "httpx": partial(blocking, library=True),
        "Trio, our claim": partial(under_trio, claim=statements("outbox")["claim"], params=CLAIM),
        "Trio, an UPDATE": partial(under_trio, claim=UPDATE, params={}),
    }
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=programs[name], args=(theirs, dsn, google), daemon=True)
    process.start()
    theirs.close()  # so that what it tells ends with it
    spent: list[float] = []

    def hear() -> None:  # all the time, or the program would wait for us as soon as the pipe is full
        with suppress(EOFError):
            while True:
                spent.append(ours.recv())

    hearing = threading.Thread(target=hear)
    try:
        assert ours.recv() == "ready"
        hearing.start()
        yield spent
    finally:
        process.terminate()
        process.join()
        if hearing.ident:
            hearing.join()
