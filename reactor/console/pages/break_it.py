"""`/break`: breaks the demo's Google, so that a visitor sees how it heals. Only the demo has this page."""

from dataclasses import asdict
from uuid import UUID

from reactor.console.console import Console
from reactor.console.page import NextPage, Page, PageAnswer, PageRequest
from reactor.console.shared.breakage import BreakPort
from reactor.console.shared.errands import Errand
from reactor.errors import ConfigurationError

_NAME = "break"


async def show(console: Console, asked: PageRequest) -> PageAnswer:
    """Show how it is, and what can be broken."""
    breakable = _breakable(console)
    state = asdict(await breakable.look())
    errand = console.errands.of(_NAME)
    names = {str(workspace): name for workspace, name in breakable.workspaces.items()}
    chosen = asked.query.get("workspace", "")
    more = {
        "kinds": [asdict(each) for each in breakable.kinds],
        "workspaces": names,
        "chosen": chosen if chosen in names else "",
        "chosen_name": names.get(chosen, ""),
        "busy": errand is not None and not errand.is_over,
        "error": errand.error if errand else "",
    }
    return PageAnswer("break_it.html", state, more=more)


async def break_it(console: Console, asked: PageRequest) -> NextPage:
    """Break one thing; one at a time."""
    breakable = _breakable(console)
    kind, workspace = asked.form.get("kind", ""), _workspace(breakable, asked.form.get("workspace", ""))
    if kind not in {each.name for each in breakable.kinds}:
        raise ConfigurationError("There is no such fault: use the buttons of the page.")
    errand = console.errands.of(_NAME)
    if errand is not None and not errand.is_over:
        raise ConfigurationError("Something is broken already: try again when that is over, some seconds from now.")

    async def work(_: Errand) -> None:
        await breakable.play(kind, workspace)

    console.errands.begin(_NAME, asked.visitor.name, work)
    return NextPage(f"/break?workspace={workspace}")


def _breakable(console: Console) -> BreakPort:
    if console.breakable is None:
        raise ConfigurationError("Only the demo can be broken: see `python -m reactor demo`.")
    return console.breakable


def _workspace(breakable: BreakPort, given: str) -> UUID:
    for workspace in breakable.workspaces:
        if str(workspace) == given:
            return workspace
    raise ConfigurationError("There is no such workspace: use the list of the page.")


PAGE = Page("/break", "Break it", show=show, act=break_it, in_menu=True)
