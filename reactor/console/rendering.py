"""Makes HTML or JSON of what a page says.

Every value is escaped and cleaned on its way into HTML, whatever a template says: characters of control and of the
writing direction are taken out, so a text of the database can neither be markup nor turn a line around. A name that is
not there is an error and not an empty text. No template may use `safe`; a test looks.
"""

import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import Response

import reactor
from reactor.console.assets import PageAsset
from reactor.console.console import Console
from reactor.console.database import PageCost
from reactor.console.page import Page, PageAnswer
from reactor.console.visitors.access import Visitor
from reactor.desk.wording import as_json, at_least, clean, count, duration, many

_SHORT = 60  # characters
_HTML = "text/html; charset=utf-8"
_JSON = "application/json; charset=utf-8"


def wants_json(accept: str) -> bool:
    """Whether a request is a program's: it asks for JSON and not for HTML."""
    return "application/json" in accept and "text/html" not in accept


class PageRenderer:
    """Makes the HTTP response of what a page answers: HTML, JSON, or 304.

    Args:
        console: Whose name and colour stand on each page.
        assets: The style sheet and the script.
        menu: The pages in the menu, in their order.
        paths: The paths of all pages: a template may ask whether there is a page before it links to it.
    """

    def __init__(
        self, console: Console, assets: Mapping[str, PageAsset], menu: Sequence[Page], paths: Sequence[str]
    ) -> None:
        self._start = secrets.token_hex(8)  # templates may have changed with a new start
        self._environment = Environment(
            loader=PackageLoader("reactor.console"),
            autoescape=True,
            undefined=StrictUndefined,
            finalize=_finalize,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= FILTERS
        self._environment.globals |= {
            "asset": lambda name: assets[name].path,
            "colour": console.colour,
            "console_name": console.name,
            "menu": menu,
            "paths": frozenset(paths),
            "version": reactor.__version__,
        }

    def respond(
        self,
        request: Request,
        page: Page,
        answer: PageAnswer,
        *,
        visitor: Visitor | None = None,
        cost: PageCost | None = None,
    ) -> Response:
        """Make the answer to a request: JSON where it is asked for, 304 where the browser has it already."""
        json_wanted = wants_json(request.headers.get("accept", ""))
        document = as_json(answer.document)
        headers = {"vary": "Accept"}
        if answer.status == 200:
            headers["etag"] = self._tag(page, answer, visitor, document, "json" if json_wanted else "html")
            if request.method in ("GET", "HEAD") and request.headers.get("if-none-match") == headers["etag"]:
                return Response(status_code=304, headers=headers)
        if json_wanted:
            return Response(document + "\n", answer.status, headers, _JSON)
        html = self._environment.get_template(answer.template).render(
            answer.more,
            command=answer.command,
            cost=cost or PageCost(),
            document=answer.document,
            here=request.url.path,
            page=page,
            title=answer.title or page.title,
            visitor=visitor,
        )
        return Response(html, answer.status, headers, _HTML)

    def _tag(self, page: Page, answer: PageAnswer, visitor: Visitor | None, document: str, kind: str) -> str:
        """An answer's entity tag: a hash of all that it is made of, except for what it has cost."""
        more = json.dumps(dict(answer.more), default=str, sort_keys=True)
        parts = (self._start, kind, page.path, answer.title, answer.command, repr(visitor), more, document)
        return f'"{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:32]}"'


def _finalize(value: Any) -> Any:
    """What a template prints: texts without characters that a reader cannot see, nothing as a dash."""
    if isinstance(value, Markup):
        return value
    return clean(value) if value is None or isinstance(value, (str, bool)) else value


def _prose(text: str) -> Markup:
    """A sentence of ours; what stands in backticks is a command."""
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if n % 2 else part for n, part in enumerate(clean(text).split("`")))


def _sentence_case(text: str) -> str:
    """A text with a capital letter at its beginning, as a sentence has it."""
    return text[:1].upper() + text[1:]


def _short(value: str | None) -> str:
    """A text of the database for a line of a table: its beginning, where it is long."""
    text = clean(value)
    return text if len(text) <= _SHORT else f"{text[: _SHORT - 1]}…"


def _as_typed(text: str) -> Markup:
    """What a person has typed into a field of several lines: with its lines, and in whole."""
    return Markup("\n").join(Markup.escape("".join(filter(str.isprintable, line))) for line in text.splitlines())


def _duration(seconds: float | timedelta | None) -> str:
    """Seconds as a person says them."""
    if isinstance(seconds, timedelta):
        seconds = seconds.total_seconds()
    return clean(None) if seconds is None else duration(seconds)


def _moment(value: Any) -> Markup | str:
    """A time, to the second; as text where it is more than Python can hold, or nothing."""
    if not isinstance(value, datetime):
        return clean(value)
    return Markup('<time datetime="{}">{}</time>').format(value.isoformat(), clean(value).replace("+00:00", " UTC"))


def _ago(value: Any, now: datetime) -> Markup | str:
    """How long a time was before another one."""
    if not isinstance(value, datetime):
        return clean(value)
    return Markup('<time datetime="{}">{} ago</time>').format(
        value.isoformat(), duration(max(0.0, (now - value).total_seconds()))
    )


FILTERS: Mapping[str, Callable[..., object]] = {
    "ago": _ago,
    "as_typed": _as_typed,
    "at_least": at_least,
    "duration": _duration,
    "many": many,
    "moment": _moment,
    "noun": count,
    "number": clean,
    "prose": _prose,
    "sentence_case": _sentence_case,
    "short": _short,
}
"""The filters of templates; no other code writes values into a page."""
