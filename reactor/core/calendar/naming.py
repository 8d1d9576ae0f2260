"""One calendar may have two names, and one name may mean two calendars.

`primary` is the own calendar of the account that asks; every account can name it by that account's address. So an event
that is remembered under the one name and wanted under the other may already be where it is wanted. And after a
workspace was connected again with another account, `primary` is another calendar than before. Only Google can tell, and
it does: an event says which calendar it is in (`RemoteEvent.calendar`), and two answers with one version are about one
event.

The id that a calendar calls itself by is what is remembered of `primary`. It costs nothing, because every write answers
with it, and it tells the accounts apart.
"""

from dataclasses import replace

from reactor.core.calendar.dialogue import Dialogue, SeenCalendars, read
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.messages import PRIMARY, EventRef, RemoteEvent


def own_name(name: str, own_id: str | None) -> str:
    """The name under which a calendar is remembered: the one that was used, or what `primary` stood for."""
    return own_id if name == PRIMARY and own_id is not None else name


def resolved(work: SyncIntent, seen: SeenCalendars) -> Dialogue[tuple[SyncIntent, RemoteEvent | None]]:
    """Find out whether an event that is remembered under another name is where it is wanted.

    Where the event is under neither name, the calendar that is remembered is looked for. If it cannot be seen, it is
    not this account's own. If it can, nothing tells the names apart, and nothing has to: the event is gone.

    Returns:
        The work, in which one calendar has one name; and the event, where it has, if it was read.
    """
    bound = work.bound
    assert bound is not None, "asked without a bound event"  # noqa: S101  (a caller's bug)
    here = EventRef(work.payload.calendar_id, bound.event_id)
    found = yield from read(here, seen, whole=True)
    event = found if isinstance(found, RemoteEvent) else None
    if event is not None and event.calendar == bound.calendar_id:
        return renamed(work), event
    there = yield from read(bound, seen)
    if isinstance(there, RemoteEvent):
        same = event is not None and _is_same(event, there)
    elif event is None:
        same = yield from seen.sees(bound.calendar_id)
    else:
        same = False
    return (renamed(work), event) if same else (work, None)


def _is_same(one: RemoteEvent, other: RemoteEvent) -> bool:
    if one.calendar is not None and other.calendar is not None:
        return one.calendar == other.calendar
    return one.etag == other.etag


def renamed(work: SyncIntent) -> SyncIntent:
    """The work, where the bound event is in the payload's calendar; so are the notes that have the other name."""
    possible = tuple(name for name in work.possible_calendars if name != work.bound_calendar_id)
    return replace(work, bound_calendar_id=work.payload.calendar_id, possible_calendars=possible)
