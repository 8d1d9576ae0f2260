"""`connections`: the workspaces' consents, never the tokens themselves."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

import psycopg
import typer

from reactor.commands.options import AsJson, DatabaseUrl, OneWorkspace, Workspace
from reactor.commands.output import at_least, count, note, print_json, print_table, sentences, visible
from reactor.errors import ConfigurationError
from reactor.postgres.desk import Desk, open_desk
from reactor.postgres.statements import statements
from reactor.settings import DatabaseSettings, VaultSettings
from reactor.vault import TEXT, VERSION

SQL = statements("connections")
CAP = 1_000  # items that are counted for each workspace
LISTED = 10_000  # connections that are listed
REQUEUED = 10_000  # dead letters of a workspace that are counted
LONGEST_TOKEN = 4_096  # characters; Google's have about 100, and 512 at most

_NO_TOKEN = VERSION

app = typer.Typer(
    name="connections",
    help="List and change the workspaces' consents.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
)

Calendar = Annotated[
    str, typer.Option("--calendar", show_default=False, help="The calendar's id, or `primary` for the account's own.")
]


def _dsn(given: str | None) -> str:
    return DatabaseSettings.from_environment(database_url=given).database_url.get_secret_value()


@app.command(
    "list",
    epilog="""Examples:

    python -m reactor connections list --invalid

    python -m reactor connections list --json | jq -r '.[] | select(.key != "k2") | .workspace'""",
)
def list_(
    *,
    workspace: OneWorkspace = None,
    invalid: Annotated[bool, typer.Option("--invalid", help="Those that wait for a person only.")] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List connections, the invalid ones first: calendar, whether it works, the key's name, what waits.

    Tokens are never shown; the key is the name of the one that the token was encrypted with.

    Exit codes: 0 shown; 2 wrong use or no database.
    """
    with sentences(), open_desk(_dsn(database_url), name="connections list") as desk:
        if workspace:
            desk.know(workspace)
        found = desk.rows(SQL["list"], workspace=workspace, invalid=invalid, cap=CAP, rows=LISTED)
    if len(found) > LISTED:
        found.pop()
        note(f"Over {LISTED:,} connections; these are the first. --workspace or --invalid shows fewer.")
    for row in found:
        row["key"] = _key(row.pop("stored"))
    if as_json:
        print_json(found)
    elif found:
        columns = ("workspace", "calendar", "valid", "key", "waiting", "dead of AUTH", "changed")
        print_table(columns, map(_line, found))
    else:
        note("There are no connections; `connect` or `connections add` makes one." if not invalid else "All are valid.")


def _line(row: dict[str, Any]) -> tuple[Any, ...]:
    counts = (at_least(row["waiting"], CAP), at_least(row["dead"], CAP))
    return (row["workspace"], visible(row["calendar"]), row["valid"], row["key"], *counts, row["updated_at"])


def _key(stored: str) -> str:
    """The name of a stored token's key; nothing else of it is ever shown."""
    match = TEXT.fullmatch(stored)
    return match[1] if match else "not encrypted, or damaged"


@app.command(
    epilog="""Examples:

    python -m reactor connections add --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10 --calendar primary < token.txt

    vault kv get -field=token secret/google | python -m reactor connections add --workspace … --calendar …"""
)
def add(
    *,
    workspace: Workspace,
    calendar: Calendar,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Store a refresh token that is read from standard input; encrypts it with the first key.

    Where the workspace has a connection, its token and calendar are replaced. What died for want of a consent is put
    back at once. The token never stands in an argument: other users of the machine could read it. To let a person
    consent in the browser use `connect`.

    Exit codes: 0 stored; 2 wrong use, a wrong setting or no database.
    """
    with sentences():
        keys = VaultSettings.from_environment()
        token = _token()
        stored = keys.vault.encrypt(workspace, token)
        with open_desk(_dsn(database_url), name="connections add") as desk:
            said = store(desk, workspace, checked(calendar), stored)
    tell(said, as_json=as_json)


def _token() -> str:
    """The token on standard input; asked for without an echo at a terminal."""
    terminal = sys.stdin.isatty()
    text = typer.prompt("Refresh token", hide_input=True, err=True) if terminal else sys.stdin.read(LONGEST_TOKEN + 1)
    token = str(text).strip()
    if not token:
        raise ConfigurationError("There is no refresh token on standard input; pipe it in: `… connections add < file`.")
    if len(token) > LONGEST_TOKEN or token.split() != [token] or not token.isascii():
        raise ConfigurationError("What came on standard input is no refresh token: it is one word, such as 1//0abc….")
    if token.startswith("ya29."):
        raise ConfigurationError(
            "That is an access token, which works for an hour: give the refresh token, which begins with 1//."
        )
    return token


def checked(calendar: str) -> str:
    """Make sure that it can be a calendar's id."""
    if not 0 < len(calendar) <= 1_024 or calendar.split() != [calendar] or not calendar.strip("."):
        raise ConfigurationError("--calendar is a calendar's id, such as team@group.calendar.google.com, or `primary`.")
    return calendar


def store(desk: Desk, workspace: UUID, calendar: str, stored: str) -> dict[str, Any]:
    """Store a consent, encrypted; return what it came to.

    Raises:
        ConfigurationError: There is no such workspace.
    """
    requeued = desk.one(SQL["dead_of_auth"], workspace=workspace, cap=REQUEUED)["n"]
    with _known(workspace):
        before = desk.one(SQL["connect"], workspace=workspace, token=stored, calendar=calendar)["before"]
    return {
        "workspace": workspace,
        "calendar": calendar,
        "new": before is None,
        "calendar_changed": before not in (None, calendar),
        "requeued": requeued,
    }


def rehearse(desk: Desk, workspace: UUID, calendar: str) -> None:
    """Make sure that a consent could be stored, before a person is asked for it.

    Raises:
        ConfigurationError: It could not.
    """
    with _known(workspace):
        desk.rehearse(SQL["connect"], workspace=workspace, token=_NO_TOKEN, calendar=calendar)


@contextmanager
def _known(workspace: UUID) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.ForeignKeyViolation as error:
        raise ConfigurationError(
            f"There is no workspace {workspace} in the application's table; take the id from there."
        ) from error


def tell(said: dict[str, Any], *, as_json: bool) -> None:
    """Say what storing a consent came to."""
    if as_json:
        print_json(said)
        return
    note(f"Workspace {said['workspace']} is connected{'' if said['new'] else ' again'}.")
    _tell_requeued(said["requeued"])
    if said["calendar_changed"]:
        note("Its calendar is another one than before. Events that are there stay until a REBUILD_ALL moves them.")


@app.command(
    epilog="""Example:

    python -m reactor connections enable --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10"""
)
def enable(*, workspace: Workspace, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Mark a connection valid, put back what died for want of it, and wake the reactor.

    For a connection that was disabled by hand, or whose cause is gone (an administrator's policy). A consent that was
    revoked does not come back so: the next item marks it invalid again. Use `connect`.

    Exit codes: 0 it is valid; 2 there is none, wrong use or no database.
    """
    _set(workspace, valid=True, as_json=as_json, database_url=database_url)


@app.command(
    epilog="""Example:

    python -m reactor connections disable --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10"""
)
def disable(*, workspace: Workspace, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Mark a connection invalid: nothing of the workspace is sent, and nothing is lost, until `enable`.

    What is in hand already is finished.

    Exit codes: 0 it is invalid; 2 there is none, wrong use or no database.
    """
    _set(workspace, valid=False, as_json=as_json, database_url=database_url)


def _set(workspace: UUID, *, valid: bool, as_json: bool, database_url: str | None) -> None:
    with sentences(), open_desk(_dsn(database_url), name="connections") as desk:
        if desk.row(SQL["connection"], workspace=workspace) is None:
            raise ConfigurationError(f"Workspace {workspace} has no connection: make one with `connect`.")
        dead = desk.one(SQL["dead_of_auth"], workspace=workspace, cap=REQUEUED)["n"] if valid else 0
        changed = bool(desk.rows(SQL["set_valid"], workspace=workspace, valid=valid))
    requeued = dead if changed else 0
    if as_json:
        print_json({"workspace": workspace, "valid": valid, "changed": changed, "requeued": requeued})
        return
    state = "valid" if valid else "invalid: what it holds back waits"
    note(f"The connection of workspace {workspace} {'is now' if changed else 'was already'} {state}.")
    _tell_requeued(requeued)


def _tell_requeued(number: int) -> None:
    if number:
        note(f"{count(number, 'dead letter') if number <= REQUEUED else f'over {REQUEUED:,} dead letters'} put back.")
