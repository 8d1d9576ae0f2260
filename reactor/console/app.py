"""Puts the console together: pages, assets, error pages, and the door that every request passes."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from urllib.parse import parse_qsl

import structlog
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from reactor.console.assets import KEPT, read_assets
from reactor.console.console import Console
from reactor.console.page import NextPage, Page, PageAnswer, PageCookie, PageRequest, VisitorRight
from reactor.console.pages import (
    acts,
    brakes,
    check,
    dead,
    drift,
    find,
    item,
    lint,
    now,
    rebuilds,
    replicas,
    requeue,
    why,
    words,
    workspace,
    workspaces,
)
from reactor.console.pages.access import connect, connections, invite
from reactor.console.rendering import PageRenderer
from reactor.console.visitors.access import AccessRefusal, Visitor, VisitorRules
from reactor.console.visitors.door import Door
from reactor.console.visitors.keys import VisitorKeys
from reactor.errors import ConfigurationError, ReactorError, TransientError

log = structlog.get_logger(__name__)

PAGES: tuple[Page, ...] = (
    now.PAGE,
    find.PAGE,
    workspaces.PAGE,
    workspace.PAGE,
    why.PAGE,
    item.PAGE,
    words.PAGE,
    dead.PAGE,
    requeue.PAGE,
    connections.PAGE,
    connections.ONE,
    brakes.PAGE,
    brakes.ONE,
    rebuilds.PAGE,
    rebuilds.ONE,
    rebuilds.NEW,
    replicas.PAGE,
    lint.PAGE,
    check.PAGE,
    acts.PAGE,
    acts.ONE,
    drift.PAGE,
    invite.PAGE,
    connect.DONE,
    connect.PAGE,
)
"""Every page. Those in the menu stand there in this order."""

STRANGER = Visitor("")
_FIELDS = 200  # of a form
_ERROR = Page("", "Error", is_open=True)


class ConsoleApp:
    """The application of a console.

    Args:
        console: What its pages use.
        rules: Who may ask for what.
        keys: The printed key, on the loopback.
        pages: Its pages.

    Attributes:
        routes: Every route, for tests that look at all of them.
        door: The ASGI application to serve.
    """

    def __init__(self, console: Console, rules: VisitorRules, keys: VisitorKeys, pages: Sequence[Page] = PAGES) -> None:
        self._console = console
        self.pages = pages
        assets = read_assets()
        menu = [page for page in pages if page.in_menu]
        self._renderer = PageRenderer(console, assets, menu, [page.path for page in pages])
        self.routes = [
            *(self._route(page) for page in pages),
            *(Route(file.path, _serving(file.content, file.kind)) for file in assets.values()),
            Route("/livez", _livez),
        ]
        app = Starlette(
            routes=self.routes,
            exception_handlers={
                HTTPException: self._not_found,
                ReactorError: self._failed,
                Exception: self._crashed,
            },
        )
        app.router.redirect_slashes = False  # it would redirect by the request's own Host
        opened = {file.path for file in assets.values()} | {"/livez"}
        patterns = [route.path_regex for page, route in zip(pages, self.routes, strict=False) if page.is_open]

        def is_open(path: str) -> bool:
            return path in opened or any(pattern.match(path) for pattern in patterns)

        self.door = Door(app, rules, keys, is_open=is_open, refuse=self._refuse)

    def _route(self, page: Page) -> Route:
        async def endpoint(request: Request) -> Response:
            return await self._answer(page, request)

        methods = [*(["GET"] if page.show else []), *(["POST"] if page.act else [])]
        return Route(page.path, endpoint, methods=methods)

    async def _answer(self, page: Page, request: Request) -> Response:
        visitor = await self._console.ceiling.under(request.scope["visitor"] or STRANGER)
        asked = PageRequest(
            visitor=visitor,
            path=request.path_params,
            query=dict(request.query_params.items()),
            form=await _form(request),
            now=datetime.now(UTC),
            cookies=request.cookies,
        )
        if any("\0" in str(value) for given in (asked.path, asked.query, asked.form) for value in given.values()):
            raise ConfigurationError("There is a character in it that no text can hold: write it without.")
        work = page.act if request.method == "POST" else page.show
        if work is None:
            raise HTTPException(405)
        if work is page.act and not _may(visitor, page.needs):
            raise HTTPException(403)
        answer = await work(self._console, asked)
        if isinstance(answer, NextPage):
            return _see_other(answer.path)
        response = self._renderer.respond(request, page, answer, visitor=visitor, cost=asked.cost)
        if answer.cookie is not None:
            self._keep(response, answer.cookie)
        return response

    def _keep(self, response: Response, cookie: PageCookie) -> None:
        """Add a cookie to an answer: `Lax`, not `Strict`, because Google sends the browser back from its own site."""
        secure = self._console.address.startswith("https:")
        response.set_cookie(
            cookie.name,
            cookie.value,
            max_age=cookie.seconds if cookie.value else 0,
            path=cookie.path,
            secure=secure,
            httponly=True,
            samesite="lax",
        )

    def _refuse(self, request: Request, refusal: AccessRefusal) -> Response:
        return self._error(request, refusal.status, refusal.sentence)

    def _error(self, request: Request, status: int, sentence: str) -> Response:
        document = {"error": sentence, "status": status}
        answer = PageAnswer("error.html", document, title=_TITLES.get(status, "It did not work"), status=status)
        return self._renderer.respond(request, _ERROR, answer, visitor=request.scope.get("visitor"))

    async def _not_found(self, request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        response = self._error(request, status, _SENTENCES.get(status, "The console cannot answer this."))
        response.headers.update((error.headers or {}) if isinstance(error, HTTPException) else {})
        return response

    async def _failed(self, request: Request, error: Exception) -> Response:
        """Answer for an error that has a sentence for people: the database is slow or away, or a setting is wrong."""
        return self._error(request, 503 if isinstance(error, TransientError) else 422, str(error))

    async def _crashed(self, request: Request, error: Exception) -> Response:
        """Answer for an unexpected error, which is a bug; the door logs it."""
        del error
        return self._error(request, 500, _SENTENCES[500])


_TITLES = {
    400: "Not understood",
    401: "Who are you?",
    403: "Not allowed",
    404: "There is no such page",
    405: "Not possible here",
    413: "Too much",
    415: "Not understood",
    422: "It cannot be done",
    500: "An error of the console",
    503: "The database does not answer",
}
_SENTENCES = {
    400: "The console cannot read the form: go back and send it again.",
    403: "You may look, but not do this: it takes a group in CONSOLE_OPERATORS or CONSOLE_WORDS, and a login of the "
    "database that may (db/console.sql).",
    404: "Look whether the address was mistyped, or begin at the first page.",
    405: "A page is read with GET, and an act is done with POST: use the buttons of the page.",
    500: "This is a bug in the console, and nothing of the reactor's. There is an error in the console's log.",
}


def _may(visitor: Visitor, needs: VisitorRight) -> bool:
    return {
        VisitorRight.NONE: True,
        VisitorRight.ACT: visitor.may_act,
        VisitorRight.READ_WORDS: visitor.may_read_words,
    }[needs]


def _see_other(path: str) -> Response:
    if not path.startswith("/") or path.startswith(("//", "/\\")):
        raise ValueError("an act leads to a page of the console")
    return Response(status_code=303, headers={"location": path})


async def _form(request: Request) -> dict[str, str]:
    if request.method != "POST":
        return {}
    try:
        body = (await request.body()).decode()
        return dict(parse_qsl(body, keep_blank_values=True, max_num_fields=_FIELDS, errors="strict"))
    except ValueError:
        raise HTTPException(400) from None


def _serving(content: bytes, kind: str) -> Callable[[Request], object]:
    async def endpoint(request: Request) -> Response:
        del request
        return Response(content, headers={"cache-control": KEPT, "content-type": kind})

    return endpoint


async def _livez(request: Request) -> Response:
    del request
    return PlainTextResponse("alive\n")
