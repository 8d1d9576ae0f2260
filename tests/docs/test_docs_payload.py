"""docs/payload.md and its JSON Schema say what the parser does."""

import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given, strategies as st

from reactor.core.payload import BadPayloadError, Operation, parse
from tests.support.dialogues import WORKSPACE, cancel_json, upsert_json
from tools.reference import DOCS, payload_schema

PAGE = (DOCS / "payload.md").read_text("utf-8")
EXAMPLES = [json.loads(text) for text in re.findall(r"```json\n(.*?)```", PAGE, re.DOTALL)]
VALIDATOR = jsonschema.Draft202012Validator(payload_schema())


def is_read(payload: Any) -> bool:
    try:
        parse(payload["operation"], WORKSPACE, json.dumps(payload).encode())
    except BadPayloadError:
        return False
    return True


def test_every_operation_has_an_example() -> None:
    assert {example["operation"] for example in EXAMPLES} == set(Operation)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_is_read_and_keeps_to_the_schema(example: Any) -> None:
    VALIDATOR.validate(example)
    parse(example["operation"], WORKSPACE, example)


def test_the_problems_that_the_page_shows_are_those() -> None:
    wrong = {**upsert_json(calendar_id="a\n", timeZone="Berlin time")}
    for payload in (wrong, json.dumps(wrong)):
        with pytest.raises(BadPayloadError) as refused:
            parse("UPSERT_EVENT", WORKSPACE, payload)
        assert "    " + "; ".join(refused.value.problems) + "\n" in PAGE


def each(name: str, *values: Any) -> list[tuple[str, Any]]:
    return [(name, value) for value in values]


REMINDER = {"method": "popup", "minutes": 0}
FIELDS = [
    *each("eventType", "GATE_REVIEW", "PARTY", 7, None),
    *each("sourceType", "task", "a b", "a:b", "", "x" * 40, "x" * 41, 7),
    *each("sourceId", "0b8e7f52-91f5-4d0e-8a43-5b2f6f1c9d11", "0B8E7F52-91F5-4D0E-8A43-5B2F6F1C9D11", "1", None),
    *each("calendarId", "primary", "", "x" * 1_024, "x" * 1_025, 7),
    *each("recreate", True, False, "yes", 1),
    *each("operation", "UPSERT_EVENT", "CANCEL_EVENT", "x", None),
    *each("event", None, "x", [], {}),
]
OF_THE_EVENT = [
    *each("title", "", "x" * 500, "x" * 501, None, []),
    *each("timeZone", "Europe/Berlin", "Berlin time", "x" * 65, None, 7),
    *each("isAllDay", False, "no", 0),
    *each("colorId", "1", "99", "0", "100", "red", None),
    *each("recurrence", ["RRULE:FREQ=DAILY"], ["exdate;TZID=UTC:20261202"], ["DTSTART:1"], [], None, "x"),
    *each("description", "x", None, []),
    *each("start", None, 7, "x", []),
    *each("reminders", {}, None, [], {"useDefault": True}, {"overrides": [{"method": "popup"}]}),
    *each("reminders", {"overrides": [REMINDER] * 5}, {"overrides": [REMINDER] * 6}),
    *each("reminders", *({"overrides": [{**REMINDER, **wrong}]} for wrong in ({"method": "fax"}, {"minutes": 40_321}))),
]


@given(
    st.lists(st.sampled_from(FIELDS), max_size=2).map(dict),
    st.lists(st.sampled_from(OF_THE_EVENT), max_size=2).map(dict),
    st.sets(st.sampled_from(["calendarId", "sourceType", "eventType", "workspaceId"]), max_size=1),
)
def test_the_schema_and_the_parser_agree(fields: dict[str, Any], event: dict[str, Any], left_out: set[str]) -> None:
    payload = {name: value for name, value in {**upsert_json(**event), **fields}.items() if name not in left_out}
    assert VALIDATOR.is_valid(payload) == is_read(payload), payload


@pytest.mark.parametrize("event_id", ["abc", None, "x" * 1_025, 7])
def test_of_a_cancel_too(event_id: object) -> None:
    payload = cancel_json(googleEventId=event_id)
    assert VALIDATOR.is_valid(payload) == is_read(payload)
