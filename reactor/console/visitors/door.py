"""What every request passes: who may ask, how much they may send, how long it may take; the headers of every answer.

The rules are in `reactor.console.visitors.access`, which knows no HTTP library. This module applies them, and exchanges
the printed key for a cookie.

*Headers.* A page may load, run and submit what the console itself serves, and nothing else; scripts may make markup by
one policy of ours only (Trusted Types). `Referrer-Policy` is `same-origin` and not `no-referrer`: under the latter a
browser sends `Origin: null` with our own forms, and to another site nothing leaves either way (Fetch, "append a request
`Origin` header").
"""

import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, unquote

import structlog
import trio
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reactor.console.visitors.access import AccessRefusal, AccessRequest, Headers, VisitorRules, admit
from reactor.console.visitors.keys import VisitorKeys

log = structlog.get_logger(__name__)

LONGEST_BODY = 16 * 1024
"""Bytes of a form."""
PATIENCE = 10.0
"""Seconds for an answer: three statements that are given up, and some."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types console"
)
HEADERS = {
    "content-security-policy": POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
"""Those of every answer. `Cache-Control` is `no-store`, but for the assets."""

INVITED, DONE = "/connect/", "/connect/done"
"""What follows the first one is an invitation, or `done`."""

Refuse = Callable[[Request, AccessRefusal], Response]


class Door:
    """The door of a console: an ASGI application in front of another one.

    Args:
        app: The application behind it; it finds the visitor in `scope["visitor"]`.
        rules: Who may ask for what.
        keys: The printed key.
        is_open: Whether a path is shown without one.
        refuse: Makes the page that says so.
    """

    def __init__(
        self, app: ASGIApp, rules: VisitorRules, keys: VisitorKeys, *, is_open: Callable[[str], bool], refuse: Refuse
    ) -> None:
        self._app, self._rules, self._keys = app, rules, keys
        self._is_open, self._refuse = is_open, refuse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        began, status = time.monotonic(), 0

        async def with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _guarded(message["headers"])
            await send(message)

        try:
            with trio.move_on_after(PATIENCE) as patience:
                await self._pass(scope, receive, with_headers)
            if patience.cancelled_caught and not status:
                late = AccessRefusal(503, "The database took too long for this page. Narrow it, or try again later.")
                await self._refuse(Request(scope), late)(scope, receive, with_headers)
        except Exception:
            log.exception("console_page_failed", path=_path(scope))
            if not status:
                await Response("There is an error in the log.\n", 500)(scope, receive, with_headers)
        finally:
            milliseconds = round((time.monotonic() - began) * 1000)
            say = log.debug if status == 304 or scope["path"] == "/livez" else log.info  # an open page asks every 2 s
            say("console_request", method=scope["method"], path=_path(scope), status=status, ms=milliseconds)

    async def _pass(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = _headers(scope)
        request = Request(scope)
        scope["visitor"] = None
        body = await _body(receive)
        if body is None:
            too_much = AccessRefusal(413, f"A form has at most {LONGEST_BODY:,} bytes: write less.")
            await self._refuse(request, too_much)(scope, receive, send)
            return
        cookie = "console-" + headers.get("host", [""])[0].rpartition(":")[2]  # others of this machine have other ports
        found = admit(
            self._rules,
            AccessRequest(
                method=scope["method"],
                headers=headers,
                peer=(scope.get("client") or ("", 0))[0],
                is_open=self._is_open(scope["path"]),
                has_cookie=any(self._keys.knows(value) for value in _cookies(headers, cookie)),
            ),
        )
        if not isinstance(found, AccessRefusal) or found.status == 401:
            exchanged = self._exchanged(scope, cookie)
            if exchanged is not None:
                await exchanged(scope, receive, send)
                return
        if isinstance(found, AccessRefusal):
            await self._refuse(request, found)(scope, receive, send)
            return
        scope["visitor"] = found
        await self._app(scope, _replay(body), send)

    def _exchanged(self, scope: Scope, name: str) -> Response | None:
        """Take a key out of the address, and come back without it."""
        if self._rules.is_behind_proxy or scope["method"] != "GET":
            return None
        [key] = parse_qs(scope["query_string"].decode("latin-1")).get("key", [""])[-1:]
        value = self._keys.exchange(key)
        if value is None:
            return None
        response = Response(status_code=303, headers={"location": "/" + scope["path"].lstrip("/")})
        response.set_cookie(
            name, value, httponly=True, samesite="strict", secure=self._rules.origin.startswith("https:")
        )
        return response


def _guarded(given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers of an answer, with ours."""
    ours = {name.encode(): value.encode() for name, value in HEADERS.items()}
    kept = [(name, value) for name, value in given if name.lower() not in ours]
    if not any(name.lower() == b"cache-control" for name, _ in kept):
        kept.append((b"cache-control", b"no-store"))
    return [*kept, *ours.items()]


def _path(scope: Scope) -> str:
    """The path as it came, in printable characters, and without what follows the question mark.

    An invitation's link is a secret, so no part of it is shown.
    """
    path = bytes(scope["raw_path"]).decode("ascii", "replace")
    return f"{INVITED}…" if unquote(path).startswith(INVITED) and path != DONE else path


def _headers(scope: Scope) -> Headers:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for name, value in scope["headers"]:
        found[name.decode("latin-1").lower()].append(value.decode("latin-1"))
    return dict(found)


def _cookies(headers: Headers, name: str) -> list[str]:
    """The values of a cookie; another program of this machine may have set one of that name as well."""
    found = []
    for line in headers.get("cookie", ()):
        for part in line.split(";"):
            key, _, value = part.strip().partition("=")
            if key == name:
                found.append(value)
    return found


async def _body(receive: Receive) -> bytes | None:
    """The whole body of a request; None where it is too long."""
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if len(body) > LONGEST_BODY:
            return None
        if not message.get("more_body"):
            return body


def _replay(body: bytes) -> Receive:
    """What receives a body that has been read already."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive
