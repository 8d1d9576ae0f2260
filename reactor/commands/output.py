"""What the commands print, and where: results on standard output, everything else on standard error.

We print no markup and remove control characters: the texts come from a database that others write, and a terminal obeys
control characters.
"""

import io
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from reactor.errors import ReactorError

_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_FOLDED = 24  # characters that a folded column has at least
_ENDLESS = 10_000
_LONGEST = 10_000  # characters of one value


@contextmanager
def sentences() -> Iterator[None]:
    """End the command with exit code 2 and the error's sentence where one of ours comes out."""
    try:
        yield
    except ReactorError as error:
        note(str(error))
        raise typer.Exit(2) from error


def note(text: str) -> None:
    """Print a remark for a person on standard error."""
    typer.echo(text, err=True)


def print_json(document: Any) -> None:
    """Print a result for programs: times in ISO 8601, durations in seconds."""
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False, default=_plain))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """Print a table for people.

    Nothing is cut off, because people copy ids: where a terminal has the room the last column is folded into
    it, otherwise, and where there is no terminal, lines are as long as they have to be.
    """
    cells = [[clean(value) for value in row] for row in rows]
    fixed = sum(max(map(len, column)) + 2 for column in list(zip(columns, *cells, strict=True))[:-1])
    console = Console(highlight=False)
    width = console.width if console.is_terminal and console.width - fixed >= _FOLDED else _ENDLESS
    if title:  # not the table's: a narrow table would fold it, and a command in it could not be pasted
        typer.secho(title, bold=True)
    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column, no_wrap=width == _ENDLESS or column is not columns[-1], overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    buffer = io.StringIO()
    Console(file=buffer, width=width, force_terminal=console.is_terminal, highlight=False).print(table)
    typer.echo("\n".join(line.rstrip() for line in buffer.getvalue().splitlines()))


def print_facts(facts: Mapping[str, Any], *, title: str = "") -> None:
    """Print names and values under each other."""
    if title:
        typer.echo(title)
    width = max(map(len, facts), default=0)
    for name, value in facts.items():
        typer.echo(f"  {name:<{width}}  {clean(value)}")


@contextmanager
def progress(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on standard error, if that is a terminal; yields what moves it on."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True, file=sys.stderr)
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda count: bar.advance(task, count)


def clean(value: Any) -> str:
    """A value as a person reads it, without control characters that a terminal would obey."""
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return _local(value).isoformat(" ", "seconds")
        case timedelta():
            return duration(value.total_seconds())
        case int():
            return f"{value:,}"
        case _:
            return _CONTROLS.sub(" ", _bounded(str(value)))


def visible(text: str) -> str:
    """A text as it is; in quotation marks where an end of it, or a character, could not be seen."""
    return text if text == text.strip() and text.isprintable() else repr(text)


def duration(seconds: float) -> str:
    """Seconds as a person says them, in the two largest units."""
    whole = int(seconds)
    parts = [(whole // 86_400, "d"), (whole // 3_600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    said = [f"{number} {unit}" for number, unit in parts if number]
    return " ".join(said[:2]) or "0 s"


def count(number: int, noun: str) -> str:
    """A number with its noun, in the singular or the plural."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def at_least(count: int, cap: int) -> str:
    """A count that was not followed beyond a cap."""
    return f"over {cap:,}" if count > cap else f"{count:,}"


def _local(moment: datetime) -> datetime:
    with suppress(OverflowError):  # the first and the last day that there is
        return moment.astimezone()
    return moment


def _bounded(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}… ({len(text):,} characters)"


def _plain(value: Any) -> Any:
    match value:
        case datetime() | date():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case UUID():
            return str(value)
    raise TypeError(type(value).__name__)
