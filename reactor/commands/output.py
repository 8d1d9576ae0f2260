"""What the commands print, and where: results on standard output, everything else on standard error.

We print no markup and remove control characters: the texts come from a database that others write, and a terminal obeys
control characters.
"""

import io
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from reactor.desk.wording import as_json, clean
from reactor.errors import ReactorError

_FOLDED = 24  # characters that a folded column has at least
_ENDLESS = 10_000


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


def note_hidden_texts() -> None:
    """Remark that the login may not read what was asked for."""
    note("This login may not read texts of events: they are shown as dots.")


def print_json(document: Any) -> None:
    """Print a result for programs: times in ISO 8601, durations in seconds."""
    typer.echo(as_json(document))


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
