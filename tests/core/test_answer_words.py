"""What of an answer is written down: codes, a location, and no text that may quote an event."""

import json

import pytest

from reactor.core.calendar.answers import classify
from reactor.core.calendar.messages import Method, Response
from reactor.core.outcome import Dead, Retry
from tests.core.test_answers import beside, info, page, refusal


def said(answer: Response, step: Method = Method.INSERT) -> str:
    means = classify(step, answer)
    assert isinstance(means, Retry | Dead)
    assert means.text == f"{means.reason} ({means.said})"
    return means.said


def test_codes_and_location_are_kept() -> None:
    assert said(beside("CONSUMER_SUSPENDED")) == "403 CONSUMER_SUSPENDED forbidden"
    assert said(refusal(400, "invalid", "Invalid recurrence rule.")) == "400 invalid Invalid recurrence rule."
    place = {"reason": "timeRangeEmpty", "message": "m", "locationType": "parameter", "location": "timeMax"}
    error = {"error": {"code": 400, "message": "m", "errors": [place]}}
    assert said(Response(400, {}, json.dumps(error).encode())) == "400 timeRangeEmpty at timeMax"
    assert said(page(502)) == "502"
    assert classify(Method.INSERT, refusal(400, "invalid")) == classify(Method.INSERT, refusal(400, "required"))


@pytest.mark.parametrize("text", ["two words", "line\nbreak", "a@example.com", "x" * 65, "", "Zürich", "1//token"])
def test_what_is_no_code_is_not_kept(text: str) -> None:
    place = {"reason": text, "message": text, "location": text}
    error = {"error": {"code": 400, "message": text, "errors": [place], "details": [info(text)]}}
    assert said(Response(400, {}, json.dumps(error).encode())) == "400"
