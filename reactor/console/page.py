"""What a page is: a path, a function that answers a request, and a template.

A page is two functions at most. `show` answers GET, `act` answers POST; both get a `PageRequest`. Most work on a
session of the database, or on the look that all visitors share. `in_session`, `writing` and `of_snapshot` turn such
functions, which know nothing of Trio, into what a page needs:

    def show(admin: AdminSession, asked: PageRequest) -> PageAnswer:
        found = dead_letters.causes(admin, workspace=asked.query.get("workspace"))
        return PageAnswer("dead.html", found, command="python -m reactor dead-letters list")

    PAGE = Page("/dead", "Dead letters", show=in_session(show))
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from reactor.console.console import Console
from reactor.console.database import PageCost
from reactor.console.snapshot import Snapshot
from reactor.console.visitors.access import Visitor
from reactor.desk.acts import ActAuthor
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession


class VisitorRight(Enum):
    """What a visitor needs for an act."""

    NONE = "none"
    ACT = "act"
    READ_WORDS = "read words"


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A request, as far as a page sees it.

    Attributes:
        visitor: Who asks.
        path: The parts of the path that the page's pattern names.
        query: What follows the question mark; of a name that comes twice, the last value.
        form: What a form has sent, likewise.
        now: When it came.
        cookies: The browser's cookies.
        cost: What the answer has cost the database so far.
    """

    visitor: Visitor
    path: Mapping[str, Any]
    query: Mapping[str, str]
    form: Mapping[str, str]
    now: datetime
    cookies: Mapping[str, str] = field(default_factory=dict)
    cost: PageCost = field(default_factory=PageCost)

    @property
    def author(self) -> ActAuthor:
        """Return who acts and why, as the record of the act has it.

        Raises:
            ConfigurationError: The form has no reason.
        """
        reason = self.form.get("reason", "").strip()
        if not reason:
            raise ConfigurationError("An act needs a reason: write one, for those who look at it later.")
        return ActAuthor(self.visitor.name, "console", reason)


@dataclass(frozen=True, slots=True)
class PageCookie:
    """A cookie that goes with an answer; no script sees it, and other sites do not send it with their forms.

    Attributes:
        name: Its name.
        value: Its value; empty to delete it.
        path: The pages to which it is sent.
        seconds: For how long the browser keeps it.
    """

    name: str
    value: str = field(repr=False)
    path: str
    seconds: int


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """The answer of a page: a document, and the template that makes HTML of it.

    Attributes:
        template: The file in templates/ that makes HTML of it.
        document: What it says, as JSON has it; the template knows it as `document`.
        command: The command that does the same, "" where there is none.
        title: What it is about; "" for the page's own title.
        status: The status code.
        more: Further values for the template, which are not part of the JSON.
        cookie: A cookie for the browser, if any.
    """

    template: str
    document: Any
    command: str = ""
    title: str = ""
    status: int = 200
    more: Mapping[str, Any] = field(default_factory=dict)
    cookie: PageCookie | None = None


@dataclass(frozen=True, slots=True)
class NextPage:
    """The answer to an act that was done, or to a search that has found one thing: look at another page.

    Attributes:
        path: The page, "/acts/7".
    """

    path: str


Show = Callable[[Console, PageRequest], Awaitable[PageAnswer | NextPage]]
Act = Callable[[Console, PageRequest], Awaitable[PageAnswer | NextPage]]


@dataclass(frozen=True, slots=True)
class Page:
    """A path of the console, with what answers there.

    Attributes:
        path: The path, as Starlette's routes have it: "/w/{workspace:uuid}".
        title: What it is called.
        show: Answers GET; None for a path that takes acts only.
        act: Answers POST; None where there is nothing to do.
        needs: What a visitor needs for the act. The database's login is the ceiling: it may refuse all the same.
        in_menu: Whether the menu has it.
        is_open: Whether it is shown to everyone who may connect, without a key and without the proxy.
    """

    path: str
    title: str
    show: Show | None = None
    act: Act | None = None
    needs: VisitorRight = VisitorRight.ACT
    in_menu: bool = False
    is_open: bool = False


def in_session(work: Callable[[AdminSession, PageRequest], PageAnswer | NextPage]) -> Show:
    """Turn a function of a session into a page's `show`; the session cannot write."""

    async def show(console: Console, asked: PageRequest) -> PageAnswer | NextPage:
        return await console.database.read(lambda admin: work(admin, asked), asked.cost)

    return show


def writing(work: Callable[[AdminSession, PageRequest], PageAnswer | NextPage]) -> Act:
    """Turn a function of a session into a page's `act`; the session can write."""

    async def act(console: Console, asked: PageRequest) -> PageAnswer | NextPage:
        return await console.database.write(lambda admin: work(admin, asked), asked.cost)

    return act


def of_snapshot(work: Callable[[Snapshot, PageRequest], PageAnswer]) -> Show:
    """Turn a function of the look that all visitors share into a page's `show`."""

    async def show(console: Console, asked: PageRequest) -> PageAnswer:
        snapshot = await console.snapshot()
        asked.cost.share(snapshot.cost)
        return work(snapshot, asked)

    return show
