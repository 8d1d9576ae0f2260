"""`/acts` and `/acts/<n>`: what operators did, and how far a run is, with what stops it."""

from typing import Any
from urllib.parse import urlencode

from reactor.console.letter_query import DeadLetterQuery, read_workspace
from reactor.console.page import NextPage, Page, PageAnswer, PageRequest, in_session, writing
from reactor.desk import act_run, acts
from reactor.desk.act_run import RunState
from reactor.desk.acts import ActKind
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession


def show(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """List acts, the newest first, fifty on a page."""
    within = asked.query.get("workspace", "").strip()
    workspace = read_workspace(within) if within else None
    before = _number(asked.query["before"]) if asked.query.get("before") else None
    found = acts.listed(admin, workspace=workspace, before=before)
    options = "".join(f" --{name} {value}" for name, value in (("workspace", workspace), ("before", before)) if value)
    older = {"workspace": within, "before": str(found.before)} if within else {"before": str(found.before)}
    return PageAnswer(
        "acts.html",
        {"acts": found.rows, "before": found.before},
        command=f"python -m reactor acts list{options}",
        more={"within": within, "is_first": before is None, "older": f"/acts?{urlencode(older)}"},
    )


def show_one(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show an act, and how far it is."""
    found = acts.act(admin, _number(str(asked.path["number"])))
    result, rate = found["result"] or {}, found["target"].get("rate")
    state = result.get("state")
    return PageAnswer(
        "act.html",
        found,
        command=f"python -m reactor acts show {found['id']}",
        title=f"Act {found['id']}: {found['act']}",
        more={
            "runs": state == RunState.RUNNING,
            "is_short": state in (RunState.STOPPED, RunState.BROKEN_OFF),
            "left": (result["of"] - result["done"]) / rate if state == RunState.RUNNING and rate else None,
            "again": _again(found),
            "stop": f"python -m reactor acts stop {found['id']}",
        },
    )


def stop(admin: AdminSession, asked: PageRequest) -> NextPage:
    """Stop a run; another operator may have begun it."""
    number = _number(str(asked.path["number"]))
    act_run.stop(admin, number, asked.author)
    return NextPage(f"/acts/{number}")


def _again(act: dict[str, Any]) -> str:
    """Return the address at which a requeue goes on that has not reached all of its letters."""
    if act["act"] != ActKind.REQUEUE or "ids" in act["target"]:
        return ""
    return DeadLetterQuery.of({**act["target"], "age": "", "workspace": str(act["workspace"] or "")}).path(
        "/dead/requeue"
    )


def _number(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 0 < int(text) <= acts.LAST_NUMBER):
        raise ConfigurationError("An act has a number, such as 17.")
    return int(text)


PAGE = Page("/acts", "Acts", show=in_session(show), in_menu=True)
ONE = Page("/acts/{number:int}", "Act", show=in_session(show_one), act=writing(stop))
