"""The reference in docs/, made from the code: `python -m tests.reference` (`make docs`) writes it.

What is made stands between two comments; the text around it is a person's. tests/test_reference.py says whether a file
is current.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
import typer.main
from typer.cli import get_docs_for_click

from reactor.cli import app
from reactor.settings import Settings

DOCS = Path(__file__).resolve().parent.parent / "docs"
PROGRAM = "python -m reactor"
_MADE = re.compile(r"(<!-- made from [^\n]*; begin -->\n).*?(<!-- end -->\n)", re.DOTALL)


def configuration() -> str:
    """The table of the settings."""
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = "required" if field.is_required() else f"`{field.default}`"
        lines.append(f"| `{name.upper()}` | {default} | {' '.join((field.description or '').split())} |")
    return "\n".join(lines) + "\n"


def commands() -> str:
    """Every command with its options, as its own help has it."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name=PROGRAM, indent=1, title="Reference")
    for each in _all(command):  # the list of commands cuts their first sentences short
        first = (each.help or "").split("\n\n")[0].replace("\n", " ")
        text = re.sub(rf"(?m)^\* `{each.name}`: .*\.\.\.$", f"* `{each.name}`: {first}", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _all(command: Any) -> Iterator[Any]:
    """A command and those below it."""
    yield command
    for below in getattr(command, "commands", {}).values():
        yield from _all(below)


MADE: Mapping[str, Callable[[], str]] = {"configuration.md": configuration, "commands.md": commands}


def current(file: str) -> str:
    """A file's text as it should be."""
    parts = _MADE.split((DOCS / file).read_text("utf-8"))
    assert len(parts) == 4, f"docs/{file} needs one pair of comments"
    before, begin, end, after = parts
    return f"{before}{begin}{MADE[file]()}{end}{after}"


if __name__ == "__main__":
    os.environ["COLUMNS"] = "120"
    for each in MADE:
        (DOCS / each).write_text(current(each), "utf-8")
