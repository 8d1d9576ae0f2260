"""Options that several commands have."""

import math
import os
import pwd
from collections.abc import Callable
from typing import Annotated
from uuid import UUID

import typer

from reactor.desk.acts import LONGEST_REASON, ActAuthor
from reactor.settings import DatabaseSettings


def read_id(text: str | UUID) -> UUID:
    """Read a UUID that a person has typed."""
    try:
        return UUID(str(text))
    except ValueError:
        raise typer.BadParameter("it must be a UUID, such as 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10.") from None


def read_number(least: float, most: float = math.inf) -> Callable[[str | float], float]:
    """Return the parser of an option: a number from `least` to `most`."""

    def read(text: str | float) -> float:
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not least <= number <= most or number == math.inf:
            bounds = f"{least:g} at least" if most == math.inf else f"{least:g} to {most:g}"
            raise typer.BadParameter(f"it must be a number, {bounds}.")
        return number

    return read


def read_whole(least: int, most: int) -> Callable[[str | int], int]:
    """Return the parser of an option: a whole number from `least` to `most`."""

    def read(text: str | int) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            raise typer.BadParameter(f"it must be a whole number, {least:,} to {most:,}.")
        return number

    return read


def read_dsn(given: str | None) -> str:
    """The address of the database: what was given, or DATABASE_URL.

    Raises:
        ConfigurationError: There is none, or it is wrong.
    """
    return DatabaseSettings.from_environment(database_url=given).database_url.get_secret_value()


def read_reason(text: str) -> str:
    """Read the reason that a person gives."""
    if not text.strip() or len(text) > LONGEST_REASON:
        raise typer.BadParameter(f"it must be a text of at most {LONGEST_REASON} characters.")
    return text.strip()


def author(reason: str | None) -> ActAuthor:
    """Who runs the command: the user of this machine."""
    try:
        who = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user may have no name
        who = f"uid {os.getuid()}"
    return ActAuthor(who, "command", reason)


DatabaseUrl = Annotated[
    str | None,
    typer.Option(
        envvar="DATABASE_URL", show_default=False, help="The database, as a login in the reactor's role or its owner."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on standard output, for programs.")]
Workspace = Annotated[
    UUID, typer.Option("--workspace", parser=read_id, metavar="<UUID>", show_default=False, help="The workspace's id.")
]
OneWorkspace = Annotated[
    UUID | None,
    typer.Option("--workspace", parser=read_id, metavar="<UUID>", show_default=False, help="This workspace only."),
]
Verify = Annotated[
    bool,
    typer.Option("--verify/--no-verify", help="Ask Google before anything is stored; without it, nothing is asked."),
]
Reason = Annotated[
    str | None,
    typer.Option(
        "--reason", parser=read_reason, metavar="TEXT", show_default=False, help="Why, for the record of acts."
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")]
