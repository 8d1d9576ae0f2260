"""Rebuilds: the forecast of one, and its start.

The forecast reads what the rebuild will read, except for Google: events that only a calendar knows are found by the
rebuild itself.
"""

from typing import Any
from uuid import UUID

from reactor.core.brake import Limit
from reactor.core.calendar.messages import PAGE
from reactor.core.payload import is_resource_id
from reactor.desk import acts
from reactor.desk.acts import ActAuthor, ActKind
from reactor.desk.wording import clean, visible
from reactor.errors import ConfigurationError
from reactor.postgres.brakes import SQL as BRAKES
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.rebuilds import LONGEST_CALENDAR, state_of
from reactor.postgres.statements import statements
from reactor.rebuild import GRANTS

SQL, CONNECTIONS = statements("rebuilds"), statements("connections")
CALLS_A_MINUTE = 600
"""Google's usual quota for a user."""

Document = dict[str, Any]


def forecast(admin: AdminSession, workspace: UUID, *, recreate: bool) -> Document:
    """Forecast a rebuild of the workspace, and say what it would wait for.

    Raises:
        ConfigurationError: There is no such workspace, it has no connection, its calendar cannot be one, it has a
            rebuild that is not done, or the application's view cannot be read.
    """
    admin.require_workspace(workspace)
    connection = _ready(admin, workspace)
    document = _forecast(admin, workspace, connection["calendar"], recreate=recreate)
    return document | {"waits_for": _obstacles(admin, workspace, valid=connection["valid"])}


def start(admin: AdminSession, forecast: Document, by: ActAuthor) -> UUID:
    """Start the rebuild of a forecast; return the id of its row.

    Raises:
        ConfigurationError: Another one was started meanwhile.
    """
    workspace, calendar, recreate = forecast["workspace"], forecast["calendars"][0], forecast["recreate"]
    with admin.connection.transaction():
        made = admin.row(SQL["insert_rebuild"], workspace=workspace, calendar=calendar, recreate=recreate)
        if made is None:
            raise ConfigurationError("Another rebuild of the workspace was started at this moment: look at that one.")
        started: UUID = made["id"]
        numbers = {name: forecast[name] for name in ("writes", "deletes", "left_alone", "calls", "brake_would_stop")}
        target = {"rebuild": started, "calendar": calendar, "recreate": recreate}
        acts.record(admin, by, ActKind.REBUILD, workspace=workspace, target=target, forecast=numbers)
    return started


def _ready(admin: AdminSession, workspace: UUID) -> Document:
    """The workspace's connection.

    Raises:
        ConfigurationError: It has none, its calendar cannot be one, or it has a rebuild that is not done.
    """
    connection = admin.row(CONNECTIONS["connection"], workspace=workspace)
    if connection is None:
        raise ConfigurationError(
            f"Workspace {workspace} has no connection, so it has no calendar: run `python -m reactor connect`."
        )
    if not is_resource_id(connection["calendar"]):
        shown = visible(connection["calendar"])[:LONGEST_CALENDAR]
        raise ConfigurationError(
            f"The calendar of workspace {workspace}'s connection, {shown}, is none: it begins or ends with white "
            "space, or is no id. `python -m reactor connections add` stores another."
        )
    open_one = admin.row(SQL["open_rebuild"], workspace=workspace)
    if open_one:
        raise ConfigurationError(
            f"Workspace {workspace} has a rebuild that is not done, {open_one['id']} ({open_one['status']}, asked for "
            f"at {clean(open_one['created_at'])}): see `python -m reactor status --rebuild {open_one['id']}`."
        )
    return connection


def _forecast(admin: AdminSession, workspace: UUID, calendar: str, *, recreate: bool) -> Document:
    """Forecast a rebuild.

    Raises:
        ConfigurationError: The view cannot be read, so the rebuild would wait for a grant.
    """
    found = admin.one(SQL["source"])
    kind = found["kind"]
    if not found["is_readable"]:
        raise ConfigurationError(
            f"calendar_source_events may not be read, so a rebuild would wait. Run: {GRANTS[kind]}"
        )
    params = {"workspace": workspace, "calendar": calendar, "complete": kind != "memory", "longest": LONGEST_CALENDAR}
    survey = admin.one(state_of(kind) + SQL["known_sources"] + SQL["forecast"], **params)
    writes, calendars = survey["writes"], [calendar, *(survey["others"] or ())]
    lists = len(calendars) + survey["events"] // PAGE
    return {
        "workspace": workspace,
        "recreate": recreate,
        "state": kind,
        "writes": writes,
        "deletes": survey["deletes"],
        "left_alone": survey["left_alone"],
        "calendars": calendars,
        "calls": lists + writes * (2 if recreate else 1) + survey["deletes"],
        "brake_would_stop": Limit().stops(survey["deletes"], survey["events"]),
    }


def _obstacles(admin: AdminSession, workspace: UUID, *, valid: bool) -> list[str]:
    """What a rebuild waits for before it begins."""
    stopped = admin.one(BRAKES["is_stopped"], workspace=workspace)["exists"]
    return [
        *([] if valid else ["a valid connection: `python -m reactor connect`"]),
        *([f"a release of the brake: `python -m reactor brake release --workspace {workspace}`"] if stopped else []),
    ]
