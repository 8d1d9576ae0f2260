"""What docs show of a command's output is what the program says: every word of it is in the code, or is a value."""

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from reactor.settings import unknown_variables
from tests.app.test_texts import modules, texts
from tests.support.commands import call

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGES = ("commands.md", "operations.md", "migrating.md", "running.md", "credentials.md", "secrets.md")
HOLE = re.compile(r"\{[^{}]*(?:\{[^{}]*\}[^{}]*)*\}")
WORD = re.compile(r"[a-z]{3,}", re.IGNORECASE)
VALUE = re.compile(
    r"\S*[@/=_0-9:]\S*|\b(?:UPSERT|CANCEL|REBUILD)\w+|\b(?:PENDING|COMPLETED|DEAD_LETTER|AUTH|MILESTONE|FAILED)\b|'\w+'|\b(?:json|notFound)\b"
)


def pasted(page: str) -> Iterator[tuple[str, str]]:
    """The lines of output that a page shows, each with the command."""
    shown = (DOCS / page).read_text("utf-8").partition("<!-- made from")[0]
    for block in re.findall(r"```console\n(.*?)```", shown, re.DOTALL):
        command = ""
        for line in block.splitlines():
            if line.startswith("$ "):
                command = line[2:]
            elif line.strip() and not line.startswith("(exit code"):
                yield command, line


def filled_in(parts: list[str]) -> re.Pattern[str]:
    """What a text looks like, with anything short in its holes."""
    first, last = parts[0][:1], parts[-1][-1:]
    before, after = (r"(?<![a-z])" if first.isalpha() else ""), (r"(?![a-z])" if last.isalpha() else "")
    return re.compile(before + ".{0,120}?".join(f"({re.escape(part)})" for part in parts) + after, re.IGNORECASE)


@pytest.fixture(scope="module")
def said() -> list[list[str]]:
    """All texts, cut at their holes."""
    found = {line.strip() for file in modules() for each in texts(file) for line in each.text.splitlines()}
    found |= {text.replace("_", " ") for text in found}  # names are shown as words
    cut = [HOLE.split(text) for text in found]
    return [parts for parts in cut if any(map(WORD.search, parts))]


def left_over(line: str, said: list[list[str]]) -> str:
    """What is neither a text of ours nor a value."""
    rest, low = list(VALUE.sub(lambda value: " " * len(value[0]), line)), line.lower()
    for parts in said:
        if all(part.lower() in low for part in parts):
            for found in filled_in(parts).finditer(line):
                for start, end in found.regs[1:]:
                    rest[start:end] = " " * (end - start)
    return "".join(rest)


@pytest.mark.parametrize("page", PAGES)
def test_what_is_pasted_is_what_is_said(page: str, said: list[list[str]]) -> None:
    lines = [each for each in pasted(page) if not each[1].startswith("{")]
    strange = [(command, line, rest) for command, line in lines if WORD.search(rest := left_over(line, said))]
    assert strange == []


WRONG = [
    (command, line)
    for command, line in pasted("commands.md")
    if re.match(r"[A-Z_]+=", command) and not line.startswith("check ")
]


@pytest.mark.parametrize(("command", "line"), WRONG)
def test_what_is_shown_of_a_wrong_setting_is_said(command: str, line: str) -> None:
    """Each command is run as the page has it; the service's own log line is made by what the service calls."""
    assigned, _, program = command.partition(" python -m reactor ")
    name, _, value = shlex.split(assigned)[0].partition("=")
    if program == "run":
        assert json.loads(line)["problem"] in unknown_variables({name: value})
        return
    given = {"GOOGLE_CLIENT_ID": "x", "GOOGLE_CLIENT_SECRET": "y", name: value}
    said = call(given.pop("DATABASE_URL", None), program, **given).output
    assert re.sub(r"\s+", " ", line) in re.sub(r"\s+", " ", said)
