"""How much may leave at once and in a minute: from the settings to lanes."""

from functools import partial

from reactor.core.brake import Limit
from reactor.core.dispatch.lanes import Lanes
from reactor.core.dispatch.limits import Limits
from reactor.settings import Settings

NO_QUOTA = 100_000  # calls a second: more than a process can make


def lanes(settings: Settings) -> Lanes:
    """Make the lanes that the settings allow."""
    return Lanes(
        process=_limits(settings.calendar_sync_requests_per_minute, settings.calendar_sync_concurrency),
        limits=partial(
            _limits, settings.calendar_sync_lane_requests_per_minute, settings.calendar_sync_lane_concurrency
        ),
        claim_size=settings.calendar_sync_batch_size,
        parts=settings.calendar_sync_batch_parts,
    )


def _limits(quota: int, in_flight_cap: int) -> Limits:
    """Limits that keep a quota; 0 is none."""
    if quota == 0:
        return Limits(burst=NO_QUOTA, ceiling=NO_QUOTA, floor=0.1, in_flight_cap=in_flight_cap)
    return Limits.per_minute(quota, in_flight_cap=in_flight_cap)


def brake(settings: Settings) -> Limit:
    """What may be deleted without a question."""
    return Limit(settings.calendar_sync_brake_share, settings.calendar_sync_brake_events)
