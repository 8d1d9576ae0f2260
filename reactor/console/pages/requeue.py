"""`/dead/requeue`: the forecast of a requeue, and the form that begins it; its progress is on the page of its act."""

import math
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from typing import Any

from reactor.console.console import Console
from reactor.console.letter_query import DeadLetterQuery
from reactor.console.page import NextPage, Page, PageAnswer, PageRequest, in_session
from reactor.console.pages.dead import LOOKS
from reactor.desk import acts
from reactor.desk.letters import dead_letters, requeue_run
from reactor.desk.letters.dead_letters import CODES, FATE_TEXTS, FATES
from reactor.desk.letters.requeue_run import RequeueRun
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession

RATE = 50.0
"""Letters a second, where the form is not changed; as of the command."""
LEAST, MOST = 0.1, 1_000.0
CAP = 5_000
"""Letters that a run takes in: for each it is looked up what has become of its source."""
PAYLOADS = 100
"""Payloads that are read for a forecast; a viewer's login has the words of each taken out."""


def show(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show the forecast for the dead letters that the filters select."""
    query = DeadLetterQuery.of(asked.query)
    seen = acts.server_time(admin)
    forecast = dead_letters.forecast(admin, query.filter, cap=CAP, looks=LOOKS, payloads=PAYLOADS)
    found = len(forecast.ids)
    document: dict[str, Any] = {"found": found, "capped": forecast.is_cut, "unread": forecast.unread}
    document |= {fate: forecast.fates[fate] for fate in FATES}
    return PageAnswer(
        "requeue.html",
        document,
        command=f"{_command(query)} --dry-run",
        more={
            "query": query.fields,
            "codes": sorted(CODES),
            "texts": FATE_TEXTS,
            "fields": {**query.fields, "seen": seen.isoformat()},
            "requeue": f"{_command(query)} --rate {RATE:g}",
            "rate": f"{RATE:g}",
        },
    )


async def begin(console: Console, asked: PageRequest) -> NextPage:
    """Begin a run of those letters that were dead when the forecast was shown."""
    run = await console.database.write(lambda admin: _begin(admin, asked), asked.cost)
    console.requeues.take(run)
    return NextPage(f"/acts/{run.act.id}")


def _begin(admin: AdminSession, asked: PageRequest) -> RequeueRun:
    by, rate = asked.author, _rate(asked.form.get("rate", ""))
    which = replace(DeadLetterQuery.of(asked.form).filter, before=_time(asked.form.get("seen", "")))
    forecast = dead_letters.forecast(admin, which, cap=CAP, looks=LOOKS, payloads=PAYLOADS)
    if not forecast.ids:
        raise ConfigurationError("There are no such dead letters any more: look at the forecast again.")
    return requeue_run.begin_alone(admin, which, forecast, rate, by)


def _command(query: DeadLetterQuery) -> str:
    return query.command("requeue") + ("" if query.fields else " --all")


def _rate(text: str) -> float:
    try:
        rate = float(text)
    except ValueError:
        rate = math.nan
    if not LEAST <= rate <= MOST:
        raise ConfigurationError(f"A rate is a number of items a second, from {LEAST:g} to {MOST:,g}.")
    return rate


def _time(text: str) -> datetime:
    moment = None
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
    if moment is None or moment.tzinfo is None:
        raise ConfigurationError("The form does not say which forecast it is of: look at the forecast again.")
    return moment


PAGE = Page("/dead/requeue", "Requeue dead letters", show=in_session(show), act=begin)
