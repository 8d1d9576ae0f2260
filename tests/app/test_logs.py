"""A line per event, for people or machines; libraries' too; nothing from local variables."""

import io
import json
import logging
import re

import pytest
import structlog

from reactor.observability import logs


def fail() -> None:
    secret = "hunter2"
    raise ValueError(len(secret))


def written(form: logs.Format) -> str:
    stream = io.StringIO()
    logs.configure(form, stream)
    log = structlog.get_logger("reactor.test")
    log.info("claimed", items=3)
    log.debug("not_shown")
    logging.getLogger("httpx").info("GET https://example.com/calendars/ada@example.com")
    logging.getLogger("library").warning("strange %s", "thing")
    try:
        fail()
    except ValueError:
        log.exception("broken")
    return stream.getvalue()


@pytest.mark.parametrize("form", ["json", "auto"])
def test_json(form: logs.Format) -> None:
    claimed, strange, broken = map(json.loads, written(form).splitlines())
    assert (claimed["event"], claimed["items"], claimed["level"]) == ("claimed", 3, "info")
    assert (claimed["logger"], claimed["timestamp"][-1]) == ("reactor.test", "Z")
    assert (strange["event"], strange["level"], strange["logger"]) == ("strange thing", "warning", "library")
    first, *frames, error = broken["exception"].splitlines()
    assert (first, error) == ("Traceback (most recent call last):", "ValueError")
    assert re.fullmatch(r'  File "tests/app/test_logs.py", line \d+, in fail', frames[-1])


def test_console() -> None:
    text = written("console")
    assert "claimed" in text
    assert "items=3" in text
    assert "ada@example.com" not in text
    assert "hunter2" not in text
    [broken] = [line for line in text.splitlines() if "broken" in line]
    assert re.search(r"traceback='Traceback .* in fail \| ValueError'", broken)


def test_a_line_that_cannot_be_made_is_told_in_one() -> None:
    stream = io.StringIO()
    logs.configure("json", stream)
    logging.getLogger("library").warning("%d things of %s", "hunter2")  # noqa: PLE1206  (a library's mistake)
    [line] = map(json.loads, stream.getvalue().splitlines())
    assert (line["event"], line["of"]) == ("log_line_lost", "library")
    assert "hunter2" not in stream.getvalue()
