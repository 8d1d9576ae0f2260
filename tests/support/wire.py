"""A TCP wire to a Postgres server that can be frozen: what goes in does not come out, as if packets were dropped."""

from functools import partial
from types import TracebackType
from typing import Self

import trio
from psycopg.conninfo import conninfo_to_dict, make_conninfo


class Wire:
    """Forwards a loopback port to the server of a connection string.

    Attributes:
        dsn: The same connection string, through the wire.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self.lead_to(dsn)
        self._frozen = False
        self._manager = trio.open_nursery()

    async def __aenter__(self) -> Self:
        self._nursery = await self._manager.__aenter__()
        serve = partial(trio.serve_tcp, self._serve, 0, host="127.0.0.1")
        [listener] = await self._nursery.start(serve)
        port = listener.socket.getsockname()[1]
        self.dsn = make_conninfo(self._dsn, host="127.0.0.1", port=port, sslmode="disable")
        return self

    async def _serve(self, client: trio.SocketStream) -> None:
        try:
            dialled = await self._dial()
        except OSError:  # there is no server now: the client's connection ends
            return
        async with dialled as server, trio.open_nursery() as nursery:
            nursery.start_soon(self._pump, client, server, nursery.cancel_scope)
            nursery.start_soon(self._pump, server, client, nursery.cancel_scope)

    async def _dial(self) -> trio.SocketStream:
        if self._host.startswith("/"):
            return await trio.open_unix_socket(f"{self._host}/.s.PGSQL.{self._port}")
        return await trio.open_tcp_stream(self._host, self._port)

    async def _pump(self, source: trio.SocketStream, sink: trio.SocketStream, scope: trio.CancelScope) -> None:
        try:
            async for data in source:
                if not self._frozen:
                    await sink.send_all(data)
        except trio.BrokenResourceError:
            pass
        scope.cancel()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._nursery.cancel_scope.cancel()
        await self._manager.__aexit__(kind, error, trace)

    def lead_to(self, dsn: str) -> None:
        """Lead new connections to the server of this connection string; those that are there stay where they are."""
        options = conninfo_to_dict(dsn)
        self._host = str(options.get("host") or "localhost")
        self._port = int(options.get("port") or 5432)

    def freeze(self) -> None:
        """Swallow everything from now on, in both directions, without closing anything."""
        self._frozen = True

    def thaw(self) -> None:
        """Let new traffic through again; what was swallowed is lost, so open connections stay useless."""
        self._frozen = False
