"""`/check`: whether the service could work here, as `python -m reactor check` says it.

A check asks Google twice without a token and rehearses the service's statements, which takes seconds. So an act begins
it, the page shows its findings as they come, and they are kept for the next visitor. A check changes nothing, so every
visitor may begin one.
"""

from dataclasses import asdict
from functools import partial

import trio

from reactor.console.console import Console
from reactor.console.page import NextPage, Page, PageAnswer, PageRequest, VisitorRight
from reactor.console.shared.errands import Errand
from reactor.desk.check.finding import CheckVerdict
from reactor.desk.check.run import findings

_NAME = "check"
_KINDS = {CheckVerdict.OK: "well", CheckVerdict.WARN: "person", CheckVerdict.FAIL: "trouble"}


async def show(console: Console, asked: PageRequest) -> PageAnswer:
    """Show the last check, or the one that is under way."""
    del asked
    errand = console.errands.of(_NAME)
    found = [] if errand is None else list(errand.result)
    more = {
        "kinds": _KINDS,
        "began": errand and errand.began,
        "by": errand.by if errand else "",
        "is_over": errand is not None and errand.is_over,
        "error": errand.error if errand else "",
        "failed": sum(each["verdict"] is CheckVerdict.FAIL for each in found),
        "warned": sum(each["verdict"] is CheckVerdict.WARN for each in found),
    }
    return PageAnswer("check.html", found, command="python -m reactor check", more=more)


async def rerun(console: Console, asked: PageRequest) -> NextPage:
    """Begin a check."""

    async def work(errand: Errand) -> None:
        await trio.to_thread.run_sync(partial(_collect, errand), abandon_on_cancel=True)

    def _collect(errand: Errand) -> None:
        for finding in findings(**console.given):
            errand.result.append(asdict(finding))

    console.errands.begin(_NAME, asked.visitor.name, work, result=[])
    return NextPage("/check")


PAGE = Page("/check", "Check", show=show, act=rerun, needs=VisitorRight.NONE, in_menu=True)
