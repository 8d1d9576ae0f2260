"""`invitations`: links by which a workspace's admin connects its calendar on the console, without an account there."""

from typing import Annotated, Any

import typer

from reactor.commands.options import AsJson, DatabaseUrl, Reason, Workspace, author, read_dsn
from reactor.commands.output import note, print_json, print_table, sentences
from reactor.console.settings import check_origin
from reactor.desk.access import invitations
from reactor.desk.wording import visible
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import open_admin_session

app = typer.Typer(
    name="invitations",
    help="Invite a workspace's admin to connect its calendar.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
)


def _read_origin(text: str) -> str:
    address = text.removesuffix("/")
    try:
        check_origin(address or "-")  # an empty one is no mistake of the console's own setting
    except ConfigurationError as error:
        raise typer.BadParameter(f"it {error}.") from None
    return address


@app.command(
    "list",
    epilog="""Example:

    python -m reactor invitations list --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10""",
)
def list_(*, workspace: Workspace, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """List a workspace's newest invitations: good, used, revoked or expired. The links themselves are kept nowhere.

    Exit codes: 0 shown; 2 wrong use or no database.
    """
    with sentences(), open_admin_session(read_dsn(database_url), name="invitations list") as admin:
        found = invitations.listed(admin, workspace)
    if as_json:
        print_json(found)
    elif found:
        print_table(("id", "is", "calendar", "by", "made", "good until", "used or revoked"), map(_line, found))
    else:
        note("There are none; `python -m reactor invitations make` makes one.")


@app.command(
    epilog="""Examples:

    python -m reactor invitations make --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10 --calendar ada@example.com
    --console https://console.example.com

    CONSOLE_ORIGIN=https://console.example.com python -m reactor invitations make --workspace … --calendar … --json"""
)
def make(
    *,
    workspace: Workspace,
    calendar: Annotated[
        str,
        typer.Option(
            "--calendar",
            show_default=False,
            help="The calendar's id: the address of its owner, or one such as team@group.calendar.google.com.",
        ),
    ],
    console: Annotated[
        str,
        typer.Option(
            "--console",
            parser=_read_origin,
            metavar="URL",
            envvar="CONSOLE_ORIGIN",
            show_default=False,
            help="Where people open the console: https://console.example.com.",
        ),
    ],
    reason: Reason = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Make a link for the person who may give a workspace's consent, and print it: it is shown this once.

    It leads to the console, which has to run there with Google's OAuth client and the keys of the stored tokens. It
    is for one calendar, good once, for 72 hours, and until it is revoked. Send it over a way that only that person
    reads.

    Exit codes: 0 made; 2 no such workspace, too many invitations, wrong use, or no database.
    """
    with sentences(), open_admin_session(read_dsn(database_url), name="invitations make") as admin:
        made = invitations.invite(admin, workspace, calendar.strip(), author(reason))
    link = f"{console}/connect/{made.secret}"
    if as_json:
        print_json({"workspace": workspace, "calendar": calendar.strip(), "link": link, "expires_at": made.expires_at})
        return
    note(
        f"Send this link to the person over a way that only they read. It is shown this once, and is good once, for "
        f"{invitations.HOURS} hours:"
    )
    typer.echo(link)


@app.command(
    epilog="""Example:

    python -m reactor invitations revoke --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10 5d9c…"""
)
def revoke(
    invitation: Annotated[
        str,
        typer.Argument(
            metavar="ID", show_default=False, help="The invitation's id: `python -m reactor invitations list` has it."
        ),
    ],
    *,
    workspace: Workspace,
    reason: Reason = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Take an invitation back: its link leads nowhere from now on.

    Exit codes: 0 revoked; 2 there is none that is still good, wrong use or no database.
    """
    with sentences(), open_admin_session(read_dsn(database_url), name="invitations revoke") as admin:
        invitations.revoke(admin, workspace, invitation.strip().lower(), author(reason))
    if as_json:
        print_json({"workspace": workspace, "revoked": invitation.strip().lower()})
    else:
        note("The invitation is revoked.")


def _line(row: dict[str, Any]) -> tuple[Any, ...]:
    named = (row["id"], row["state"], visible(row["calendar"]), visible(row["invited_by"]))
    return (*named, row["invited_at"], row["expires_at"], row["used_at"] or row["revoked_at"])
