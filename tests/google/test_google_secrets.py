"""No token, no text of an event, no calendar's address in a log line, an exception or a repr, whatever goes wrong."""

import logging
import traceback
from dataclasses import replace

import pytest
import trio

from calendar_emulator import Fault
from reactor.core.calendar.exchange import exchange
from reactor.core.calendar.messages import Response
from reactor.core.payload import parse
from reactor.google import batch
from reactor.google.client import GoogleCalendar
from reactor.google.transport import Timeouts
from tests.support.dialogues import WORKSPACE, upsert_json
from tests.support.google_client import Tokens, item
from tests.support.google_fixtures import GoogleServer

TITLE = "Zq-title-of-an-event"
DESCRIPTION = "Zq-description-of-an-event"
CALENDAR = "zq.person@example.com"

FAULTS = [
    None,
    Fault(effect="drop", commit=1.0),
    Fault(effect="garbage"),
    Fault(effect="html", status=403),
    Fault(effect="malformed"),
    Fault(effect="error", reason="authError", status=401),
    Fault(effect="error", reason="invalid", status=400, message=f"Invalid {TITLE} in {CALENDAR}."),
    Fault(operation="batch", effect="truncate"),
    Fault(latency_after=5.0),
]


def secret(tokens: Tokens) -> list[str]:
    address = [CALENDAR, CALENDAR.replace("@", "%40"), "zq.person"]
    return [TITLE, DESCRIPTION, *address, tokens.current]


@pytest.mark.parametrize("fault", FAULTS)
async def test_nothing_secret_is_logged_or_shown(
    google: GoogleServer, caplog: pytest.LogCaptureFixture, fault: Fault | None
) -> None:
    caplog.set_level(logging.DEBUG)
    google.emulator.share(CALENDAR, google.user, "owner")
    if fault:
        google.emulator.fault(fault)
    tokens = Tokens(google.emulator)
    works = [replace(item(number, TITLE, calendar_id=CALENDAR), possible_calendars=(CALENDAR,)) for number in range(3)]
    shown: list[object] = [*works, *(work.payload for work in works), tokens.token, google.api_root]
    timeouts = Timeouts(read=0.2)
    async with GoogleCalendar(google.api_root, timeouts=timeouts) as client:
        outcomes = [*await client.send(works, tokens), *await client.send(works[:1], tokens)]
        shown += [client, await client.list_events(CALENDAR, WORKSPACE, tokens), *outcomes]
        with trio.move_on_after(0):
            await client.send(works, tokens)
    text = "\n".join([*(record.getMessage() for record in caplog.records), caplog.text, *map(repr, shown)])
    assert "httpcore" in caplog.text, "the loggers of the HTTP library must be among those that are searched"
    assert [word for word in secret(tokens) if word in text] == []


def test_nothing_secret_is_in_the_values_on_the_way() -> None:
    payload = parse("UPSERT_EVENT", WORKSPACE, upsert_json(TITLE, CALENDAR, description=DESCRIPTION))
    work = item(1, TITLE, calendar_id=CALENDAR)
    ask = next(exchange(work))
    answer = Response(400, {"location": CALENDAR}, TITLE.encode())
    text = repr([payload, work, ask, ask.request, answer])
    assert TITLE not in text
    assert DESCRIPTION not in text
    assert "zq.person" not in text


def test_nothing_secret_is_in_a_traceback() -> None:
    with pytest.raises(batch.BatchAnswerError) as caught:
        batch.read(f"text/{TITLE}", CALENDAR.encode(), 1)
    text = "".join(traceback.format_exception(caught.value))
    assert TITLE not in text
    assert CALENDAR not in text
