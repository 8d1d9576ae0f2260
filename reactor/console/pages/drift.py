"""`/drift/<workspace>`: the calendar and the application side by side, as `python -m reactor drift` compares them.

The page shows the cost before it compares, because a comparison takes calls of the workspace's quota. For the same
reason a visitor needs the right to act, although a comparison changes nothing. It takes seconds to minutes, so it is an
errand, and its result is kept for the next visitor. Texts are always shown as lengths. A comparison needs Google's
secret and the keys of the stored tokens; without them the page shows the command.
"""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from reactor.console.console import Console
from reactor.console.page import NextPage, Page, PageAnswer, PageRequest
from reactor.console.shared.errands import Errand
from reactor.desk.compare.comparing import Cost, cost
from reactor.desk.compare.comparison import comparison_document, forecast
from reactor.desk.compare.run import DriftManner, DriftSettings, compare_one
from reactor.drift.judge import DriftKind
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession

LARGEST = 10_000
"""Events that a workspace may have here; larger ones are for the command, which shows how far it is."""
_SHOWN = 300  # findings on a page; its JSON has all that are kept
_MANNER = DriftManner()


def _settings(console: Console) -> DriftSettings | None:
    """The settings of a comparison; None where this console does not have them."""
    try:
        return DriftSettings.from_environment(**console.given)
    except ConfigurationError:
        return None


async def show(console: Console, asked: PageRequest) -> PageAnswer:
    """Show what a comparison would cost, and what the last one found."""
    workspace: UUID = asked.path["workspace"]
    expected = await console.database.read(lambda admin: _cost(admin, workspace), asked.cost)
    errand = console.errands.of(_name(workspace))
    found = errand.result if errand and errand.is_over else None
    document = found or {**(asdict(expected) if expected else {}), "dry_run": True}
    more = {
        "workspace": workspace,
        "forecast": expected and forecast(expected, rate=_MANNER.rate, lookups=_MANNER.lookups),
        "calls": expected and expected.calls,
        "can_compare": _settings(console) is not None and expected is not None and expected.events <= LARGEST,
        "is_too_large": expected is not None and expected.events > LARGEST,
        "largest": LARGEST,
        "errand": _shown(errand),
        "found": found and _grouped(found),
    }
    command = f"python -m reactor drift --workspace {workspace}"
    return PageAnswer("drift.html", document, command=command, title="Drift", more=more)


async def compare(console: Console, asked: PageRequest) -> NextPage:
    """Begin a comparison."""
    workspace: UUID = asked.path["workspace"]
    settings = _settings(console)
    expected = await console.database.read(lambda admin: _cost(admin, workspace), asked.cost)
    if settings is None or expected is None:
        raise ConfigurationError(
            "This console has not all of Google's secret, the keys of the stored tokens, and a login that may read "
            f"these. In a terminal that has them, run `python -m reactor drift --workspace {workspace}`."
        )
    if expected.events > LARGEST:
        raise ConfigurationError(
            f"The workspace has over {LARGEST:,} events: run `python -m reactor drift --workspace {workspace}`."
        )

    async def work(errand: Errand) -> None:
        errand.result = comparison_document(await compare_one(settings, workspace, _MANNER))

    console.errands.begin(_name(workspace), asked.visitor.name, work)
    return NextPage(f"/drift/{workspace}")


def _cost(admin: AdminSession, workspace: UUID) -> Cost | None:
    """What a comparison would cost; None where the login may not read what the estimate needs."""
    admin.require_workspace(workspace)
    return None if admin.hides_texts else cost(admin, workspace)


def _name(workspace: UUID) -> str:
    return f"drift {workspace}"


def _shown(errand: Errand | None) -> dict[str, Any] | None:
    if errand is None:
        return None
    return {"by": errand.by, "began": errand.began, "ended": errand.ended, "error": errand.error}


def _grouped(document: dict[str, Any]) -> dict[str, Any]:
    """The findings as the page shows them: what differs by field, everything else by kind, what is on its way apart."""
    [report] = document["workspaces"]
    findings = report["findings"][:_SHOWN]
    there = [each for each in findings if not each["on_its_way"]]
    return {
        **report,
        "total": sum(report["counts"].values()),
        "shown": len(findings),
        "different": [each for each in there if each["kind"] is DriftKind.DIFFERENT],
        "others": [each for each in there if each["kind"] is not DriftKind.DIFFERENT],
        "moving": [each for each in findings if each["on_its_way"]],
    }


PAGE = Page("/drift/{workspace:uuid}", "Drift", show=show, act=compare)
