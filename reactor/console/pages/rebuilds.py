"""`/rebuilds`: open and recent rebuilds; `/rebuilds/<id>`: the progress of one; `/rebuilds/new`: its forecast."""

from math import ceil
from typing import Any
from uuid import UUID

from reactor.console.letter_query import read_workspace
from reactor.console.page import NextPage, Page, PageAnswer, PageRequest, in_session, writing
from reactor.console.places import AFTER, as_place, moment, pages_around, read_place
from reactor.desk import pulses, rebuild_progress, rebuilds
from reactor.desk.rebuild_progress import LOOKS, WALKED
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession

CHILDREN = 10_000
"""Items of a rebuild that its page counts."""


def show(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show a page of rebuilds, the newest first."""
    place = read_place(asked.query.get(AFTER), moment, UUID)
    found = rebuild_progress.listed(admin, before=place and (place[0], place[1]))
    return PageAnswer(
        "rebuilds.html",
        {"rebuilds": found.rows, "after": as_place(found.before), "capped": found.is_cut},
        more={"pages": pages_around("/rebuilds", asked.query, found.before), "walked": WALKED, "looks": LOOKS},
    )


def show_one(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show the progress of a rebuild, and when it will be over."""
    rebuild: UUID = asked.path["rebuild"]
    now = asked.now.astimezone()
    found = rebuild_progress.rebuild_progress(admin, rebuild, cap=CHILDREN)
    lane = pulses.lane_of(admin, found["rebuild"]["workspace"], now)
    document: dict[str, Any] = {**found, "forecast": rebuild_progress.prospect(found, lane, now)}
    return PageAnswer(
        "rebuild.html",
        document,
        command=f"python -m reactor status --rebuild {rebuild}",
        title=f"Rebuild {rebuild}",
        more={"cap": CHILDREN},
    )


def show_new(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show the forecast of a rebuild of `?workspace=`, and the form that starts it."""
    given = asked.query.get("workspace", "").strip()
    recreate = asked.query.get("recreate") == "yes"
    document: dict[str, Any] = {"forecast": None, "problem": None}
    command = ""
    if given:
        try:
            workspace = read_workspace(given)
            command = _command(workspace, recreate=recreate)
            document["forecast"] = rebuilds.forecast(admin, workspace, recreate=recreate)
        except ConfigurationError as error:
            document["problem"] = str(error)
    forecast = document["forecast"]
    return PageAnswer(
        "rebuild_new.html",
        document,
        command=f"{command} --dry-run" if command else "",
        title="Start a rebuild",
        more={
            "given": given,
            "recreate": recreate,
            "start": command,
            "minutes": ceil(forecast["calls"] / rebuilds.CALLS_A_MINUTE) if forecast else 0,
        },
    )


def start(admin: AdminSession, asked: PageRequest) -> NextPage:
    """Start a rebuild, and record it with a forecast of this moment."""
    by = asked.author
    recreate = asked.form.get("recreate") == "yes"
    forecast = rebuilds.forecast(admin, read_workspace(asked.form.get("workspace", "")), recreate=recreate)
    return NextPage(f"/rebuilds/{rebuilds.start(admin, forecast, by)}")


def _command(workspace: UUID, *, recreate: bool) -> str:
    return f"python -m reactor rebuild --workspace {workspace}{' --recreate' if recreate else ''}"


PAGE = Page("/rebuilds", "Rebuilds", show=in_session(show), in_menu=True)
ONE = Page("/rebuilds/{rebuild:uuid}", "Rebuild", show=in_session(show_one))
NEW = Page("/rebuilds/new", "Start a rebuild", show=in_session(show_new), act=writing(start))
