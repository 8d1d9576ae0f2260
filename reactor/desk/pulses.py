"""What the replicas report about themselves: the last hour or day, how they stand, and which lanes are held back.

All of it comes from `sync_pulses` (reactor/core/pulse.py), one row a minute and replica: 120 rows for an hour of two
replicas. A replica that is idle writes none, so its last pulse may be hours old and still say how it stands.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from reactor.core.dispatch.limits import Limits
from reactor.core.forecast import forecast
from reactor.core.pulse import MINUTE, SEVERITY, WORST, minute_of
from reactor.core.trend import trend
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.statements import statements

CAP = 10_000
"""Items of one workspace that are counted, and rows of pulses that are read."""
LISTED_CAP = 1_000
"""Items of a workspace that are counted in a list of workspaces."""
REPLICAS = 100
"""Replicas that are listed."""
HOUR, DAY = 1, 24

_SQL = statements("pulses")
_STATUS = statements("status")
_RANKS = {str(standing): rank for rank, standing in enumerate(SEVERITY)}
_STEPS = {HOUR: 1, DAY: 10}  # minutes of a point

Document = dict[str, Any]


class _Due(NamedTuple):
    """How many items are due, and whether they are more than that."""

    items: int
    capped: bool


def activity(admin: AdminSession, *, hours: int = HOUR, now: datetime) -> Document:
    """Return what all replicas did in the last hour or day, in points and as a whole.

    The last point ends half a minute ago or more: by then each replica has reported it. `capped` says that there were
    too many rows to read, so that the earliest points lack something.
    """
    minutes = _STEPS[hours]
    end = minute_of(now.timestamp()) // (minutes * MINUTE) * (minutes * MINUTE)
    until, step = datetime.fromtimestamp(end, UTC), timedelta(minutes=minutes)
    since = until - timedelta(hours=hours)
    rows = admin.rows(_SQL["minutes"], since=since, until=until, cap=CAP)
    [whole] = trend(rows, since, until, until - since)
    return {
        "since": since,
        "until": until,
        "step": step,
        "capped": len(rows) > CAP,
        "points": [asdict(point) for point in trend(rows, since, until, step)],
        "whole": asdict(whole),
    }


def replicas(admin: AdminSession) -> list[Document]:
    """Return the last pulse of each replica that lives or was there within the last hour."""
    return admin.rows(_SQL["replicas"], cap=REPLICAS)


def differing(found: Iterable[Mapping[str, Any]]) -> list[Document]:
    """Return the settings in which replicas that live differ: each value with the hosts that have it."""
    living = [each for each in found if each["lives"]]
    differ = []
    for name in sorted({name for each in living for name in each["settings"]}):
        hosts: dict[str, list[str]] = {}
        for each in living:
            hosts.setdefault(json.dumps(each["settings"].get(name), sort_keys=True), []).append(each["host"])
        if len(hosts) > 1:
            values = [{"value": json.loads(value), "hosts": sorted(of)} for value, of in sorted(hosts.items())]
            differ.append({"name": name.upper(), "values": values})
    return differ


def lanes(admin: AdminSession, found: Sequence[Mapping[str, Any]], now: datetime) -> list[Document]:
    """Return the lanes that are held back most in the replicas that live, with what is due in each and until when."""
    by_workspace: dict[UUID, list[Document]] = {}
    for workspace, report in _lane_reports(found):
        by_workspace.setdefault(workspace, []).append(report)
    worst = sorted(by_workspace, key=lambda workspace: _severity(by_workspace[workspace]))[:WORST]
    due = _due(admin, worst, LISTED_CAP)
    return [_lane(workspace, by_workspace[workspace], due[workspace], now) for workspace in worst]


def lane_of(
    admin: AdminSession, workspace: UUID, now: datetime, found: Sequence[Mapping[str, Any]] | None = None
) -> Document:
    """Return how one workspace's lane stands in the replicas that live, what is due, and until when.

    Where no pulse names the lane, the rate is what the settings allow a workspace.

    Args:
        admin: A session of the database.
        workspace: The workspace.
        now: The present.
        found: What `replicas` has returned; it is asked without it.
    """
    found = replicas(admin) if found is None else found
    due = _due(admin, [workspace], CAP)[workspace]
    if reports := [report for whose, report in _lane_reports(found) if whose == workspace]:
        return _lane(workspace, reports, due, now)
    rates = [_usual_rate(each["settings"]) for each in found if each["lives"]][:1]
    return {"workspace": workspace, "replicas": [], "opens_at": None, **_prospect(due, rates, now, opens_in=0.0)}


def _lane_reports(found: Iterable[Mapping[str, Any]]) -> Iterator[tuple[UUID, Document]]:
    """The lanes that living replicas report, each with its replica."""
    for each in found:
        for lane in each["lanes"] if each["lives"] else ():
            opens_in = lane["opens_in"]
            yield (
                UUID(lane["workspace"]),
                {
                    "host": each["host"],
                    "told_at": each["pulsed_at"],
                    "standing": lane["standing"],
                    "breaker": lane["breaker"],
                    "opens_at": each["pulsed_at"] + timedelta(seconds=opens_in) if opens_in else None,
                    "rate": lane["rate"],
                    "in_flight": lane["in_flight"],
                },
            )


def _severity(reports: Iterable[Document]) -> tuple[int, int]:
    return min((_RANKS.get(each["standing"], len(_RANKS)), -each["in_flight"]) for each in reports)


def _due(admin: AdminSession, workspaces: Sequence[UUID], cap: int) -> dict[UUID, _Due]:
    """What is due in each workspace, counted up to a cap."""
    rows = admin.rows(_STATUS["due_items"], workspaces=list(workspaces), cap=cap)
    return {row["workspace"]: _Due(min(row["due"], cap), row["due"] > cap) for row in rows}


def _lane(workspace: UUID, reports: list[Document], due: _Due, now: datetime) -> Document:
    """One workspace's lane, over all replicas that report it; `opens_at` where it is held back now."""
    opens_at = min((each["opens_at"] for each in reports if each["opens_at"]), default=now)
    rates = [each["rate"] for each in reports]
    return {
        "workspace": workspace,
        "replicas": reports,
        "opens_at": opens_at if opens_at > now else None,
        **_prospect(due, rates, now, opens_in=(opens_at - now).total_seconds()),
    }


def _prospect(due: _Due, rates: Sequence[float | None], now: datetime, *, opens_in: float) -> Document:
    """How many are due, at which rate they leave, and until when."""
    found = forecast(due.items, rates, now, opens_in=opens_in, capped=due.capped)
    return {
        "due": due.items,
        "capped": due.capped,
        "rate": found.rate if found else None,
        "through_by": found.through_by if found else None,
        "forecast": found.sentence(now) if found else None,
    }


def _usual_rate(settings: Mapping[str, Any]) -> float | None:
    quota = settings["calendar_sync_lane_requests_per_minute"]
    return Limits.per_minute(quota, in_flight_cap=1).ceiling if quota else None
