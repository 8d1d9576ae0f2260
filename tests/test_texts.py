"""Every text that can reach a person: no library's identifier, no traceback, and a remedy where one is due."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import typer.main
from pydantic_core.core_schema import ErrorType

import reactor
from reactor.cli import app
from reactor.core.payload import BadPayloadError, Cancel, Rebuild, Upsert, parse
from reactor.errors import ConfigurationError
from reactor.settings import Settings
from tests.commands import call
from tests.dialogues import WORKSPACE, cancel_json, upsert_json
from tests.test_settings import GIVEN, OF_LIBRARIES

SOURCE = Path(reactor.__file__).parent
SAID = {"note", "echo", "Finding", "problem", "Retry", "Dead", "print_facts"}
DUE = {"ConfigurationError", "PermanentError", "TransientError", "KeySettingError"}
"""What a command ends with: a person has to do something, and is told what."""
HEALED = ("housekeeping.py", "lifecycle.py", "pooler.py", "errors.py", "embedded.py")
"""Where a TransientError is tried again by the service itself."""
REMEDY = re.compile(
    r"\b(?:run|look|use|give|set|unset|take|write|try|see|add|put|keep|share|compare|install|leave|make|narrow|again"
    r"|open|copy|name|goes with|docs/\S+"
    r"|must|is a|is not 1 to|is one|is the|an entry is|such as|codes are|say which|has those)\b",
    re.IGNORECASE,
)
LIBRARIES = re.compile(
    r"\b(?:psycopg|httpx?core|httpx|pydantic\w*|typer|trio|yoyo|structlog|libpq|hypercorn|NoneType|Traceback"
    r"|\w+(?:Error|Exception|Warning)|(?:Read|Connect|Write|Pool)Timeout)\b"
)
NAMED = re.compile(r"type\(\w+\)\.__(?:qual)?name__|\b(?:exc|error)!r|repr\((?:error|exc)\)")
TYPES = set(get_args(ErrorType))
MESSAGES = re.compile(r"Input should|Field required|valid (?:string|dictionary|list)|String should")


def spoken() -> Iterator[tuple[str, str, str]]:
    """File, callee and text of whatever is said to a person; what is inserted stands in braces, as it is written."""
    for file in sorted(SOURCE.rglob("*.py")):
        if {"emulator", "demo"} & set(file.relative_to(SOURCE).parts):
            continue
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func).rpartition(".")[2]
                texts = [text for each in node.args if (text := written(each)) and " " in text.strip()]
                if name in SAID or name.endswith("Error"):
                    yield from ((file.name, name, text) for text in texts)


def written(node: ast.expr) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(written(part) or f"{{{ast.unparse(part)}}}" for part in parts)
        case _:
            return None


def test_no_text_names_what_belongs_to_a_library() -> None:
    found = list(spoken())
    assert len(found) > 150
    assert not [each for each in found if LIBRARIES.search(re.sub(r"\{.*?\}", "", each[2])) or NAMED.search(each[2])]


def test_what_a_person_has_to_do_is_said() -> None:
    due = [each for each in spoken() if each[1] in DUE and each[0] not in HEALED]
    assert len(due) > 40
    silent = [each for each in due if not REMEDY.search(each[2]) and not each[2].endswith(("}", "}."))]  # that says it
    assert silent == []


WRONG: tuple[Any, ...] = (None, "", " x\n", "x", 7, 1.5, True, [], [7], {}, {"a": 1}, "x" * 2_000)


def is_said_well(line: str) -> bool:
    path, _, said = line.partition(": ")
    theirs = said in TYPES or said.replace(" ", "_") in TYPES or MESSAGES.search(said) or LIBRARIES.search(said)
    return bool(path and not theirs and REMEDY.search(said) and len(line) < 300)


@pytest.mark.parametrize(
    ("model", "payload"),
    [
        (Upsert, upsert_json()),
        (Cancel, cancel_json(googleEventId="x")),
        (Rebuild, {"operation": "REBUILD_ALL", "workspaceId": WORKSPACE, "calendarId": "x"}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_every_problem_of_a_payload(model: type[Any], payload: dict[str, Any]) -> None:
    operation, said = payload["operation"], set()
    fields = [(name, value) for name in (*payload, "recreate") for value in WRONG]
    for forms in (
        [{**payload, name: value} for name, value in fields],
        [{key: value for key, value in payload.items() if key != name} for name in payload],
        [
            {**payload, "event": {**payload.get("event", {}), name: value}}
            for name in (
                "title",
                "start",
                "end",
                "timeZone",
                "isAllDay",
                "recurrence",
                "colorId",
                "reminders",
                "location",
            )
            for value in (*WRONG, {"overrides": ["x"]}, {"useDefault": 7})
        ],
        [*WRONG[1:], json.dumps(payload)],
    ):
        for form in forms:
            try:
                parse(operation, WORKSPACE, form)
            except BadPayloadError as error:
                said |= set(error.problems)
    assert len(said) > 5, model
    assert {line for line in said if not is_said_well(line)} == set()


@pytest.mark.parametrize("name", [name.upper() for name in Settings.model_fields])
def test_every_problem_of_a_setting(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for variable in OF_LIBRARIES:
        monkeypatch.delenv(variable, raising=False)
    for value in ("x y", "-1", "999999999999", "1.5", "://", "\n", "x" * 2_000):
        for variable, usual in {**GIVEN, name: value}.items():
            monkeypatch.setenv(variable, usual)
        try:
            Settings.from_environment()
        except ConfigurationError as error:
            for line in str(error).splitlines():
                assert line.startswith(("GOOGLE_TOKEN_URI", name)), line
                assert line.endswith((".", "?")), line
                assert REMEDY.search(line), line
                assert not LIBRARIES.search(line), line
                assert not MESSAGES.search(line), line


def options(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command, with each of its parameters."""
    for below in getattr(command, "commands", {}).values():
        yield from options(below, (*path, below.name))
    if not hasattr(command, "commands"):
        yield from ((path, each) for each in command.params)


def test_what_is_typed_wrongly_is_said_in_our_words() -> None:
    typed = [(path, each) for path, each in options(typer.main.get_command(app)) if path[0] not in ("demo", "emulator")]
    assert len(typed) > 40
    for path, each in typed:
        if each.is_flag if hasattr(each, "is_flag") else False:
            continue
        given = (each.opts[0], "x") if each.param_type_name == "option" else ("x",)
        result = call(None, *path, *given)
        assert not MESSAGES.search(result.output), (path, each.name)
        assert "unable to parse" not in result.output, (path, each.name)


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", "--rebuild", "x"),
        ("connect", "--workspace", WORKSPACE, "--calendar", ""),
        ("connections", "add", "--workspace", WORKSPACE, "--calendar", "a b"),
        ("dead-letters", "list", "--age", "x"),
        ("dead-letters", "requeue"),
        ("check",),
        ("migrate", "--check"),
        ("run",),
    ],
    ids=" ".join,
)
def test_what_a_command_ends_with(arguments: tuple[str, ...]) -> None:
    result = call("postgresql://me:hunter2@127.0.0.1:1/app", *arguments, stdin="token\n")
    assert result.exit_code in (1, 2)
    assert "hunter2" not in result.output
    assert not LIBRARIES.search(result.output), result.output
    assert not MESSAGES.search(result.output)
    assert REMEDY.search(result.output)
