"""`/brakes`: which workspaces the brake has stopped; `/brakes/<id>`: what would be deleted, and the release."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from reactor.console.links import why_path
from reactor.console.page import NextPage, Page, PageAnswer, PageRequest, in_session, writing
from reactor.console.places import AFTER, as_place, moment, pages_around, read_place
from reactor.desk import brakes
from reactor.desk.brakes import CAP, COUNT, SAMPLE, Stopped
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession

MANY = 100
"""Where more events than that would go, a person types how many before a release."""


def show(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show a page of those that are stopped, the longest first."""
    place = read_place(asked.query.get(AFTER), moment, UUID)
    found = brakes.page(admin, place and (place[0], place[1]))
    return PageAnswer(
        "brakes.html",
        {"stopped": [asdict(each) for each in found.rows], "after": as_place(found.after)},
        command="python -m reactor brake list",
        more={"pages": pages_around("/brakes", asked.query, found.after), "count": COUNT, "now": asked.now},
    )


def show_one(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show what would be deleted of one, and the form that releases it."""
    found = _stopped(admin, asked)
    document: dict[str, Any] = {**asdict(found), "sample": brakes.sample(admin, found)}
    why = [why_path(found.workspace_id, each["source"] or "") for each in document["sample"]["sources"]]
    return PageAnswer(
        "brake.html",
        document,
        command="python -m reactor brake list",
        title="Stopped by the brake",
        more={
            "release": f"python -m reactor brake release --workspace {found.workspace_id}",
            "cap": CAP,
            "many": found.deletes > MANY,
            "most": SAMPLE,
            "why": why,
            "now": asked.now,
        },
    )


def act(admin: AdminSession, asked: PageRequest) -> NextPage:
    """Release it, if it is as the person has seen it."""
    by = asked.author
    found = _stopped(admin, asked)
    seen = f"{found.cause} {found.deletes} {found.events}"
    if asked.form.get("seen") != seen:
        raise ConfigurationError(
            "The brake has stopped it anew since you looked, with other numbers: nothing was released. Look again."
        )
    if found.deletes > MANY and _digits(asked.form.get("typed", "")) != str(found.deletes):
        raise ConfigurationError(
            f"Nothing was released: more than {MANY} events would be deleted, so type how many. Go back and look again."
        )
    if not brakes.release(admin, found, by):
        raise _gone(found.workspace_id)
    return NextPage(f"/w/{found.workspace_id}")


def _digits(text: str) -> str:
    """A number as a person types it, without what groups its digits."""
    return "".join(each for each in text if each not in ",.' \u00a0\u202f")


def _stopped(admin: AdminSession, asked: PageRequest) -> Stopped:
    workspace: UUID = asked.path["workspace"]
    found = brakes.stopped(admin, workspace)
    if not found:
        raise _gone(workspace)
    return found[0]


def _gone(workspace: UUID) -> ConfigurationError:
    return ConfigurationError(
        f"Workspace {workspace} is not stopped, or not any more: look at `python -m reactor brake list`."
    )


PAGE = Page("/brakes", "Brakes", show=in_session(show), in_menu=True)
ONE = Page("/brakes/{workspace:uuid}", "Brake", show=in_session(show_one), act=writing(act))
