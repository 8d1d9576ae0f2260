"""What Google says when it refuses, from its answer to the row, the log and what the commands show."""

from typing import Any
from uuid import UUID

from calendar_emulator import Fault
from tests.support.commands import call, document
from tests.support.process_world import World, world
from tests.support.waiting import until

__all__ = ["world"]

OTHER = UUID("2d0a4f0e-64d5-44a0-8f9b-6e8c8f6b3c11")
EMPTY = "Google refuses the event's content (400 timeRangeEmpty at timeMax The specified time range is empty.)"
RULE = "Google refuses the event's content (400 invalid Invalid recurrence rule.)"
BARE = "Google refuses the event's content (400 badRequest)"
GONE = "the refresh token was revoked or has expired (400 invalid_grant)"


async def test_the_codes_of_a_refusal_are_kept_wherever_a_person_looks(world: World) -> None:
    """Those of the calendar and of the token endpoint, with the location; a free text is nowhere."""
    google = world.google.emulator
    world.connect()
    world.connect(OTHER, refresh_token="1//never-granted")
    secret = "Fire the whole team"
    google.fault(Fault(operation="insert", nth=3, effect="error", status=400, reason="badRequest", message=secret))
    times: dict[str, Any] = {
        "start": "2026-12-01T09:00:00+01:00",
        "end": "2026-12-01T08:00:00",
        "timeZone": "Europe/Berlin",
    }
    process = await world.start().ready()
    expected = {world.insert(1, extra={"event": {"title": secret, **times}}): ("BAD_REQUEST", EMPTY)}
    await until(lambda: world.statuses().get("DEAD_LETTER") == 1)
    times |= {"end": "2026-12-01T10:00:00", "recurrence": ["RRULE:FREQ=SOMETIMES"]}
    expected[world.insert(2, extra={"event": {"title": secret, **times}})] = ("BAD_REQUEST", RULE)
    await until(lambda: world.statuses().get("DEAD_LETTER") == 2)
    expected[world.insert(3, secret)] = ("BAD_REQUEST", BARE)
    expected[world.insert(4, secret, OTHER)] = ("AUTH", GONE)
    await until(lambda: len(process.events("dead_letter")) == 4)

    rows = world.execute("select id, failure_code, last_error from sync_outbox")
    assert {item: (code, error) for item, code, error in rows} == expected
    told = {UUID(line["item_id"]): (line["code"], line["problem"]) for line in process.events("dead_letter")}
    assert told == expected
    assert [line["reason"] for line in process.events("no_access_token")] == [GONE]
    listed = document(world.database, "dead-letters", "list", code=1)["causes"]
    assert {(cause["code"], cause["error"]) for cause in listed} == set(expected.values())
    for item, (code, error) in expected.items():
        shown = document(world.database, "dead-letters", "show", str(item))
        assert (shown["code"], shown["error"]) == (code, error)
    assert EMPTY in call(world.database.reactor, "dead-letters", "list").stdout
    assert secret not in process.output
