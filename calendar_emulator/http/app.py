"""The emulator as an ASGI application.

ASGI has no word for what an unreliable network does: close without an answer, send half of one, send no HTTP at all. A
server that offers the extension `reactor.wire` is asked to write raw bytes and close; under any other server the
application raises `WireFaultError` at that point, which in process (`httpx.ASGITransport`) reaches the caller.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from calendar_emulator.calls import Request, parse_query, reason_phrase
from calendar_emulator.http.service import Reply, Service

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]
WIRE: Final = "reactor.wire"


class WireFaultError(Exception):
    """The fault plan wants the connection broken, and the server cannot break it."""


def application(service: Service) -> Application:
    """Return the ASGI application that serves an emulator; it answers `http` scopes only."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise ValueError(f"The emulator does not speak {scope['type']}.")
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        request = Request(
            scope["method"],
            scope["raw_path"].decode("ascii"),
            parse_query(scope["query_string"].decode("ascii")),
            {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]},
            body,
        )
        reply = await service.reply(request)
        if not reply.effect:
            await _send_whole(reply, send)
        elif WIRE in (scope.get("extensions") or {}):
            await send({"type": WIRE, "body": raw(reply)})
        else:
            raise WireFaultError(reply.effect)

    return app


async def _send_whole(reply: Reply, send: Send) -> None:
    answer = reply.answer
    body = answer.body()
    headers = [(name.lower().encode(), value.encode()) for name, value in answer.headers.items()]
    if answer.payload is not None:
        headers.append((b"content-type", answer.content_type.encode()))
    if answer.status not in (204, 304):
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def raw(reply: Reply) -> bytes:
    """What a damaged reply puts onto the wire before the connection closes."""
    if reply.effect == "drop":
        return b""
    if reply.effect == "malformed":
        return b"\x00\x01 this is not HTTP\r\n\r\n"
    answer = reply.answer
    body = answer.body()
    announced = len(body)
    if reply.effect == "truncate":
        body = body[: len(body) // 2]
    else:
        announced //= 2
    head = [
        f"HTTP/1.1 {answer.status} {reason_phrase(answer.status)}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {announced}",
        *(f"{name}: {value}" for name, value in answer.headers.items()),
    ]
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body
