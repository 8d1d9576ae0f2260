"""What would be sent for an item, without the words of it."""

from typing import Any

from reactor.core.calendar.event import body
from reactor.core.calendar.ids import event_id
from reactor.core.payload import LONGEST_RESOURCE_ID, BadPayloadError, Cancel, Rebuild, parse
from reactor.desk.wording import visible

_LONGEST = 2_000  # characters: a payload of fifty bad lines has fifty problems
_PLAIN = ("start", "end", "recurrence", "colorId", "reminders")  # fields of an event that hold no text of a person

Document = dict[str, Any]


def preview(letter: Document, payload: object, *, show_texts: bool) -> Document:
    """What a requeue would make of the item: the request's kind, its event and its body.

    Args:
        letter: The row, with `operation`, `workspace`, `source`, `generation` and `event_id`.
        payload: The row's payload.
        show_texts: Whether titles, descriptions and places are shown; otherwise their lengths.
    """
    workspace = str(letter["workspace"])
    try:
        read = parse(letter["operation"], workspace, payload)
    except BadPayloadError as error:
        given = payload.get("calendarId") if isinstance(payload, dict) else None
        calendar = {"calendar": visible(given[:LONGEST_RESOURCE_ID])} if isinstance(given, str) else {}
        problems = "; ".join(error.problems)[:_LONGEST]
        return {"nothing": "the payload cannot be used", **calendar, "problems": problems}
    if isinstance(read, Rebuild):
        return {"calendar": read.calendar_id, "what": "the workspace's events are all compared and put right"}
    event = letter["event_id"] or event_id(workspace, letter["source"], letter["generation"])
    place = {"calendar": read.calendar_id, "event": event}
    if isinstance(read, Cancel):
        return {"what": "the event is removed", **place}
    wanted = body(read.event, {})
    wanted.pop("extendedProperties")
    texts = {name: wanted.pop(name) for name in list(wanted) if name not in _PLAIN}
    shown = texts if show_texts else {name: f"({len(str(text)):,} characters)" for name, text in texts.items()}
    for end in ("start", "end"):
        wanted[end] = " ".join(wanted[end].values())
    return {"what": f"the event is written ({read.event_type})", **place, **shown, **wanted}
