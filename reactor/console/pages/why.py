"""`/w/<id>/s/<key>`: why an event is in its calendar or is not, from the application to Google.

All of it is the document of `explain`. GET looks at the database, and gives the application's view one second. POST
asks Google too, for one event with the workspace's own credentials. No session of the database is held meanwhile.
"""

from functools import partial
from shlex import quote
from uuid import UUID

import trio

from reactor.console.console import Console
from reactor.console.page import Page, PageAnswer, PageRequest
from reactor.desk import explanation, google_event
from reactor.desk.explanation import ExplanationReport
from reactor.errors import ConfigurationError, TransientError
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.explain.chains import RECENT
from reactor.postgres.explain.sources import Match

VIEW = 1.0
"""Seconds that the application's view has."""
_GOOGLE = 7.0  # seconds for both requests to Google: an answer has ten


def show(admin: AdminSession, asked: PageRequest, *, can_ask: bool = True) -> PageAnswer:
    """Explain from the database alone."""
    match = _match(asked)
    admin.require_workspace(match.workspace)
    return _answer(match, explanation.explain(admin, match, view_seconds=VIEW), can_ask=can_ask)


async def _show(console: Console, asked: PageRequest) -> PageAnswer:
    work = partial(show, asked=asked, can_ask=console.google is not None)
    return await console.database.read(work, asked.cost)


async def ask(console: Console, asked: PageRequest) -> PageAnswer:
    """Explain from the database and from what Google holds."""
    match, settings = _match(asked), console.google
    if settings is None:
        raise ConfigurationError(
            "The console has neither Google's secret nor the keys of the stored tokens in its environment. Use "
            f"a terminal that has: `{_command(match)} --google`."
        )
    question = await console.database.read(lambda admin: explanation.question(admin, match, settings), asked.cost)
    if question is None:
        raise ConfigurationError("Google was not asked: the workspace has no connection. Connect it, and look again.")
    with trio.move_on_after(_GOOGLE) as patience:
        seen, renewed = await google_event.ask(settings, question.token, question.place, question.source)
    if patience.cancelled_caught:
        raise TransientError(f"Google has not answered for {_GOOGLE:g} s: try again.")
    if renewed:
        with trio.CancelScope(shield=True):  # Google may know the old one no more
            await console.database.write(
                lambda admin: google_event.keep_renewed(admin, settings, question.token, renewed), asked.cost
            )
    report = await console.database.read(
        lambda admin: explanation.explain(admin, match, seen=seen, view_seconds=VIEW), asked.cost
    )
    return _answer(match, report, can_ask=True)


def _match(asked: PageRequest) -> Match:
    """The source that the address names; an item without a source is named by its id."""
    workspace, source = asked.path["workspace"], asked.path["source"]
    try:
        return Match(workspace, source, UUID(source))
    except ValueError:
        return Match(workspace, source)


def _command(match: Match) -> str:
    return f"python -m reactor explain {quote(match.source)} --workspace {match.workspace}"


def _answer(match: Match, report: ExplanationReport, *, can_ask: bool) -> PageAnswer:
    return PageAnswer(
        "why.html",
        report.document,
        command=_command(match) + (" --google" if report.was_asked else ""),
        more={
            "can_ask": can_ask,
            "kind": "well" if report.is_well else "" if report.goes_on else "person",
            "recent": RECENT,
        },
    )


PAGE = Page("/w/{workspace:uuid}/s/{source:path}", "Why", show=_show, act=ask)
