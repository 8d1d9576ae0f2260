"""What a person names is understood as they mean it."""

import json
from base64 import urlsafe_b64encode
from uuid import UUID

import pytest

from reactor.core.calendar import event
from reactor.core.calendar.ids import digest_of, event_id
from reactor.core.calendar.messages import NoResponse, Reply, Response
from reactor.core.explain.asked import Asked, understand
from reactor.core.explain.seen import EventPresence, GoogleReading, see
from reactor.core.outcome import Dead, FailureCode, Retry
from reactor.errors import ConfigurationError

SOURCE = "0b8e7f52-91f5-4d0e-8a43-5b2f6f1c9d11"
OURS = event_id("7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10", f"task:{SOURCE}", 0)
GOOGLES = "2tdcb4eepthqj01qltpi4txfcs".replace("x", "v")


def link(words: str, form: str = "https://www.google.com/calendar/event?eid={}&ctz=Europe/Berlin") -> str:
    return form.format(urlsafe_b64encode(words.encode()).decode().rstrip("="))


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        (f" {SOURCE} ", Asked(uuid=UUID(SOURCE))),
        (SOURCE.upper().replace("-", ""), Asked(uuid=UUID(SOURCE))),
        (f"task:{SOURCE.upper()}", Asked(source=f"task:{SOURCE}")),
        (f"gate_run:{SOURCE}", Asked(source=f"gate_run:{SOURCE}")),
        (OURS, Asked(event_id=OURS)),
        (GOOGLES, Asked(event_id=GOOGLES)),
        (f"{OURS}_20261201T090000Z", Asked(event_id=OURS)),
        (link(f"{OURS} ada@example.com"), Asked(event_id=OURS, calendar_id="ada@example.com")),
        (link(f"{OURS} ada@m"), Asked(event_id=OURS, calendar_id="ada@gmail.com")),
        (link(f"{OURS} c_1@g"), Asked(event_id=OURS, calendar_id="c_1@group.calendar.google.com")),
        (link(f"{OURS}_20261201 primary"), Asked(event_id=OURS, calendar_id="primary")),
        (
            link(f"{OURS} ada@m", "https://calendar.google.com/calendar/u/0/r/eventedit/{}"),
            Asked(event_id=OURS, calendar_id="ada@gmail.com"),
        ),
        (f"https://www.google.com/calendar/event?eid={OURS}", Asked(event_id=OURS)),
        ("Quarterly review", Asked(title="Quarterly review")),
        ("review", Asked(title="review")),
        ("task:7", Asked(title="task:7")),
        ("task:" + "a" * 33, Asked(title="task:" + "a" * 33)),
    ],
)
def test_what_is_meant(text: str, asked: Asked) -> None:
    assert understand(text) == asked


@pytest.mark.parametrize(
    "text",
    ["", "  ", "x" * 1_001, "https://example.com/", link("no event"), link(f"{OURS} a b"), link("é"), "https://x/%ff"],
)
def test_what_names_nothing(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Say which event|The link holds no event"):
        understand(text)


def test_the_hash_of_an_id() -> None:
    assert digest_of(OURS) is not None
    assert digest_of("r" + "0" * 32) == bytes(20)
    for strange in ("r1", "s" + "0" * 32, "r" + "w" * 32, GOOGLES):
        assert digest_of(strange) is None


def answer(**fields: object) -> Response:
    found = {"id": OURS, "etag": '"1"', "status": "confirmed", **fields}
    return Response(200, body=json.dumps(found).encode())


def marked(workspace: str = "w", source: str = "task:1") -> dict[str, object]:
    private = dict(event.properties(workspace_id=workspace, source_key=source, seq=41, generation=0))
    return {"extendedProperties": {"private": private}}


REVOKED = Dead(FailureCode.AUTH, "the consent is gone", said="400 invalid_grant")


@pytest.mark.parametrize(
    ("reply", "presence", "problem"),
    [
        (answer(**marked()), EventPresence.ALIVE, ""),
        (answer(), EventPresence.ALIVE, ""),
        (answer(**marked("w", "task:2")), EventPresence.FOREIGN, ""),
        (answer(**marked("v")), EventPresence.FOREIGN, ""),
        (answer(status="cancelled"), EventPresence.DELETED, ""),
        (Response(410, body=b'{"error": {"code": 410}}'), EventPresence.DELETED, ""),
        (Response(404, body=b'{"error": {"code": 404}}'), EventPresence.MISSING, ""),
        (Response(200, body=b"<html>"), EventPresence.REFUSED, "its answer cannot be read"),
        (
            Response(401, body=b'{"error": {"code": 401}}'),
            EventPresence.REFUSED,
            "even a fresh access token is refused",
        ),
        (
            Response(409, body=b'{"error": {"errors": [{"reason": "conflict"}]}}'),
            EventPresence.REFUSED,
            "an answer that does not belong to the request",
        ),
        (Response(503), EventPresence.REFUSED, "Google failed (503)"),
        (NoResponse("no connection", sent=False), EventPresence.REFUSED, "the request could not be sent"),
        (REVOKED, EventPresence.REFUSED, "the consent is gone (400 invalid_grant)"),
    ],
)
def test_what_google_holds(reply: Reply | Retry | Dead, presence: EventPresence, problem: str) -> None:
    found = see(reply, "w", "task:1")
    assert (found.presence, found.problem) == (presence, problem)


def test_an_event_says_whose_it_is() -> None:
    assert see(answer(**marked())) == GoogleReading(EventPresence.ALIVE, 41, "w", "task:1")
