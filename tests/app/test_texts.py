"""Every text that can reach a person: no library's identifier, no traceback, and a remedy where one is due."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, get_args

import pytest
from pydantic_core.core_schema import ErrorType

import reactor
from reactor.core.explain.explanation import explain
from reactor.core.health import HealthFacts, readiness
from reactor.core.payload import BadPayloadError, Cancel, Rebuild, Upsert, parse
from reactor.core.refusals import advice
from reactor.errors import ConfigurationError
from reactor.settings import Settings
from tests.app.test_settings import GIVEN, OF_LIBRARIES
from tests.core.test_explanation import CASES
from tests.support.commands import call, whole
from tests.support.dialogues import WORKSPACE, cancel_json, upsert_json

SOURCE = Path(reactor.__file__).parent
DUE = {"ConfigurationError", "PermanentError", "TransientError", "KeySettingError"}
"""What a command ends with: a person has to do something, and is told what."""
HEALED = ("housekeeping.py", "concurrency.py", "pooler.py", "errors.py", "embedded.py")
"""Where a TransientError is tried again by the service itself."""
REMEDY = re.compile(
    r"\b(?:run|look|use|give|set|unset|take|write|try|see|add|put|keep|share|compare|install|leave|make|narrow|again"
    r"|open|copy|name|makes|goes with|docs/\S+"
    r"|must|is a|is not 1 to|is one|is the|an entry is|such as|codes are|say which|has those)\b",
    re.IGNORECASE,
)
LIBRARIES = re.compile(
    r"\b(?:psycopg|httpx?core|httpx|pydantic\w*|typer|trio|yoyo|structlog|libpq|hypercorn|NoneType|Traceback"
    r"|\w+(?:Error|Exception|Warning)|(?:Read|Connect|Write|Pool)Timeout)\b"
)
NAMED = re.compile(r"type\(\w+\)\.__(?:qual)?name__|\b(?:exc|error)!r|repr\((?:error|exc)\)")
VAGUE = re.compile(
    r"\b(?:whoever|nobody|somebody|everybody|anybody)\b|[\w)], since (?!\{)|\b(?:those|ones?|all) that there are\b",
    re.IGNORECASE,
)
"""A noun says who; "because" is no date; what is said of a thing has words of its own."""
TYPES = set(get_args(ErrorType))
MESSAGES = re.compile(r"Input should|Field required|valid (?:string|dictionary|list)|String should")
GROUPS = whole()


class Text(NamedTuple):
    """What may be said to a person; what is inserted stands in braces, as it is written."""

    file: str
    callee: str
    text: str


def texts(file: Path) -> Iterator[Text]:
    """Every text in a module, but for docstrings."""
    tree = ast.parse(file.read_text("utf-8"))
    silent: set[ast.AST | None] = {each.value for each in ast.walk(tree) if isinstance(each, ast.Expr)}
    callees: dict[ast.AST, str] = {}
    for node in ast.walk(tree):  # from the outside in
        if isinstance(node, ast.JoinedStr):
            silent |= {
                *node.values,
                *(part.format_spec for part in node.values if isinstance(part, ast.FormattedValue)),
            }
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            callees |= {inner: name for each in node.args for inner in ast.walk(each)}
        text = written(node) if isinstance(node, ast.expr) and node not in silent else None
        if text:
            yield Text(file.name, callees.get(node, ""), text)


def modules() -> list[Path]:
    """The product's, without what is beside it."""
    return [file for file in sorted(SOURCE.rglob("*.py")) if "demo" not in file.relative_to(SOURCE).parts]


def spoken() -> list[Text]:
    """Every text of several words in the product's code, and the help of every command.

    Whether it is shown, logged or stored is not asked: a statement or a pattern among them says nothing wrong either.
    """
    found = [text for file in modules() for text in texts(file) if len(text.text.split()) > 2]
    return found + [Text("--help", "help", text) for text in helped(GROUPS)]


def written(node: ast.expr) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(written(part) or f"{{{ast.unparse(part).strip('{}')}}}" for part in parts)
        case _:
            return None


def helped(command: Any) -> Iterator[str]:
    """What `--help` says of a command, of all below it, and of their options."""
    yield from (command.help or "", command.epilog or "")
    yield from (getattr(each, "help", None) or "" for each in command.params)
    for below in getattr(command, "commands", {}).values():
        yield from helped(below)


SPOKEN = spoken()


def test_no_text_names_what_belongs_to_a_library() -> None:
    assert len(SPOKEN) > 900
    plain = [each for each in SPOKEN if each.file != "tracebacks.py"]
    assert not [
        each for each in plain if LIBRARIES.search(re.sub(r"\{.*?\}", "", each.text)) or NAMED.search(each.text)
    ]


def test_every_text_says_who_and_why_in_plain_words() -> None:
    assert [each for each in SPOKEN if VAGUE.search(each.text)] == []


def test_what_a_person_has_to_do_is_said() -> None:
    due = [each for each in SPOKEN if each.callee in DUE and each.file not in HEALED and len(each.text) > 20]
    assert len(due) > 40
    silent = [each for each in due if not REMEDY.search(each.text)]
    assert [each for each in silent if not each.text.endswith(("}", "}.", ": "))] == []  # what follows says it


def test_every_explanation_refusal_and_unready_page_says_what_to_do() -> None:
    remedies = [explain(chain).remedy for chain, _ in CASES.values()]
    refusals = [advice(state) for state in ("25006", "42501", "53100", "53200", "55P03", "57014", "22003", "23514")]
    refusals += [advice(state) for state in ("40001", "42P01", "53400", "P0001", "XX000")]
    unready = readiness(HealthFacts({}, crashing=True)).problems
    said = [
        each
        for each in (*remedies, *refusals, *unready)
        if not re.search("Nothing is to be done|find what|ask", each, re.IGNORECASE)
    ]
    assert len(said) > 40
    assert [each for each in said if not REMEDY.search(each) and "`" not in each] == []


COMMAND = re.compile(r"python -m reactor((?: (?:[a-z][a-z-]+|--[a-z-]+))*)")


def test_every_command_that_a_text_or_a_page_names_is_there() -> None:
    """In full: what is pasted works, or asks for what is left out."""
    pages = [(page.name, page.read_text("utf-8")) for page in (SOURCE.parent / "docs").rglob("*.md")]
    pages += [("README.md", (SOURCE.parent / "README.md").read_text("utf-8"))]
    named = [(each.file, each.text) for each in SPOKEN] + pages
    found = [(file, words.split()) for file, text in named for words in COMMAND.findall(text)]
    assert len(found) > 150
    assert [each for each in found if not exists(each[1])] == []
    short = re.compile(rf"`(?:{'|'.join(GROUPS.commands)})(?: [^`]*)?`")
    assert [each for each in SPOKEN if each.file not in ("--help", "cli.py") and short.search(each.text)] == []


def exists(words: list[str]) -> bool:
    """Whether such a command has such options."""
    command: Any = GROUPS
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    options = {name for each in command.params for name in (*each.opts, *each.secondary_opts)} | {"--help"}
    return all(word in options for word in words if word.startswith("--")) and not (
        hasattr(command, "commands") and words and not words[0].startswith("--")
    )


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
        [f'{{"a": {raw}}}'.encode() for raw in ("1" * 5_000, "[" * 500 + "]" * 500, '"\\ud800"', "x", "")],
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
    typed = [(path, each) for path, each in options(GROUPS) if path[0] not in ("demo", "emulator")]
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
        ("status",),
        ("locks",),
        ("explain", "Quarterly review"),
        ("drift", "--all"),
        ("brake", "list"),
        ("connections", "list"),
        ("dead-letters", "list"),
        ("rebuild", "--workspace", WORKSPACE),
        ("tokens", "rotate"),
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
