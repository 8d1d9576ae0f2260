"""`/find`: from any id, a link, or words of a title to the page of what is meant."""

from collections.abc import Iterator
from dataclasses import asdict

from reactor.console.letter_query import read_workspace
from reactor.console.links import item_path, why_path
from reactor.console.page import NextPage, Page, PageAnswer, PageRequest, in_session
from reactor.desk.explanation import DeskSearch, search
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession


def show(admin: AdminSession, asked: PageRequest) -> PageAnswer | NextPage:
    """Lead to the only thing that is found; otherwise list what may be meant."""
    text, within = asked.query.get("q", "").strip(), asked.query.get("workspace", "").strip()
    if not text:
        return _answer(DeskSearch(), text, within)
    try:
        found = search(admin, text, read_workspace(within) if within else None)
    except ConfigurationError as error:
        return _answer(DeskSearch(), text, within, str(error))
    paths = list(_paths(found))
    is_one = len(paths) == 1 and paths[0] and not found.has_more
    return NextPage(paths[0]) if is_one else _answer(found, text, within)


def _answer(found: DeskSearch, text: str, within: str, problem: str = "") -> PageAnswer:
    sources = [{**each, "path": why_path(each["workspace"], each["source"])} for each in found.sources]
    document = {**asdict(found), "sources": sources, "problem": problem}
    return PageAnswer("find.html", document, more={"text": text, "within": within}, title="Find")


def _paths(found: DeskSearch) -> Iterator[str]:
    if found.item:
        yield item_path(found.item)
    yield from (f"/w/{each}" for each in found.workspaces)
    yield from (why_path(each["workspace"], each["source"]) for each in found.sources)


PAGE = Page("/find", "Find", show=in_session(show))
