"""`connections`: the workspaces' consents, never the tokens themselves."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any
from uuid import UUID

import typer

from reactor.commands.access import credentials
from reactor.commands.access.credentials import Credential
from reactor.commands.options import AsJson, DatabaseUrl, OneWorkspace, Reason, Verify, Workspace, author, read_dsn
from reactor.commands.output import note, print_json, print_table, sentences
from reactor.core.calendar.messages import PRIMARY
from reactor.desk import connections
from reactor.desk.connections import ConnectionList
from reactor.desk.wording import at_least, many, visible
from reactor.errors import ConfigurationError, PermanentError, TransientError
from reactor.google.credentials import account_of
from reactor.google.endpoints import NO_CLIENT
from reactor.google.trial import Candidate, try_credential
from reactor.postgres.connection.admin import open_admin_session
from reactor.settings import EncryptionSettings, GoogleSettings

app = typer.Typer(
    name="connections",
    help="List and change the workspaces' consents.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
)

Calendar = Annotated[
    str, typer.Option("--calendar", show_default=False, help="The calendar's id, or `primary` for the account's own.")
]


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
    """List connections, the invalid ones first: calendar, kind of credential, whether it works, the key, what waits.

    Neither tokens nor service accounts' keys are ever shown; `key` is the name of what they were encrypted with. The
    address of a service account and its subject are encrypted too: they are shown where TOKEN_ENCRYPTION_KEYS is set.

    Exit codes: 0 shown; 2 wrong use or no database.
    """
    with sentences(), open_admin_session(read_dsn(database_url), name="connections list") as admin:
        found = connections.listed(admin, workspace, invalid=invalid)
    if found.is_cut:
        note(f"Over {connections.LISTED:,} connections; these are the first. --workspace or --invalid shows fewer.")
    rows = found.rows
    if found.stored:
        _name_accounts(found)
    if as_json:
        print_json(rows)
    elif rows:
        columns = ("workspace", "calendar", "credential", "valid", "key", "waiting", "dead of AUTH", "changed")
        print_table(columns, map(_line, rows))
    else:
        note(
            "There are no connections; `python -m reactor connect` or `python -m reactor connections add` makes one."
            if not invalid
            else "All are valid."
        )


def _line(row: dict[str, Any]) -> tuple[Any, ...]:
    counts = (at_least(row["waiting"], connections.CAP), at_least(row["dead"], connections.CAP))
    whose = " for ".join(each for each in (row["account"], row["subject"]) if each)
    named = (row["workspace"], visible(row["calendar"]), f"{row['kind']} {whose}".rstrip())
    return (*named, row["valid"], row["key"], *counts, row["updated_at"])


def _name_accounts(found: ConnectionList) -> None:
    """Name the service accounts, where the keys are at hand."""
    try:
        cipher = EncryptionSettings.from_environment().token_cipher
    except ConfigurationError as error:
        note(f"{error}\nWithout it the addresses of service accounts are not shown.")
    else:
        found.name_accounts(cipher)


@app.command(
    epilog="""Examples:

    python -m reactor connections add --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10 --calendar primary < token.txt

    vault kv get -field=token secret/google | python -m reactor connections add --workspace … --calendar …

    python -m reactor connections add --workspace … --calendar team@group.calendar.google.com --service-account key.json

    python -m reactor connections add --workspace … --calendar primary --service-account - --subject ada@example.com"""
)
def add(
    *,
    workspace: Workspace,
    calendar: Calendar,
    service_account: Annotated[
        str | None,
        typer.Option(
            "--service-account",
            metavar="FILE",
            show_default=False,
            help="A service account's key file (JSON) in place of a refresh token; `-` reads it from standard input.",
        ),
    ] = None,
    subject: Annotated[
        str | None,
        typer.Option(
            "--subject",
            metavar="ADDRESS",
            show_default=False,
            help="The user for whom the service account acts, by domain-wide delegation.",
        ),
    ] = None,
    verify: Verify = True,
    reason: Reason = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Store a refresh token that is read from standard input, or a service account's key, encrypted.

    It is tried before it is stored: Google is asked for an access token, and whether it opens the calendar for writing.
    Where the workspace has a connection, its credential and calendar are replaced then. What died for want of a consent
    is put back at once. A token never stands in an argument: other users of the machine could read it. To let a person
    consent in the browser use `connect`.

    A service account needs no consent and does not expire. Share the calendar with its address, with the right to make
    changes to events, or have an administrator grant it domain-wide delegation and name the user with --subject.
    docs/credentials.md says when to choose which.

    Exit codes: 0 stored; 1 Google refuses it, or cannot be asked now; 2 wrong use, a wrong setting or no database.
    """
    with sentences():
        keys = EncryptionSettings.from_environment()
        google = _google(service_account, verify=verify)
        dsn = read_dsn(database_url)
        checked(calendar)
        if service_account is not None:
            given = credentials.service_account(service_account, subject, calendar, google.google_token_uri)
        elif subject is not None:
            raise ConfigurationError("--subject goes with --service-account; a refresh token is its user's already.")
        else:
            given = credentials.refresh_token()
        with open_admin_session(dsn, name="connections add") as admin:
            connections.dry_run_connect(admin, workspace, calendar)
        secret = given.secret
        if verify:
            secret = tried(given, google, calendar) or secret
        stored = keys.token_cipher.encrypt(workspace, secret, version=given.version)
        with open_admin_session(dsn, name="connections add") as admin:
            said = connections.store(admin, workspace, calendar, stored, author(reason))
    report(said, as_json=as_json)


def _google(service_account: str | None, *, verify: bool) -> GoogleSettings:
    """The settings of Google; the OAuth client is required only for a refresh token that is tried."""
    given = {"google_client_id": NO_CLIENT, "google_client_secret": NO_CLIENT} if service_account or not verify else {}
    try:
        return GoogleSettings.from_environment(**given)
    except ConfigurationError as error:
        if given:
            raise
        raise ConfigurationError(
            f"{error}\nGoogle is asked about the token before it is stored; use --no-verify to store it untried."
        ) from error


def tried(given: Credential, google: GoogleSettings, calendar: str) -> str | None:
    """Try a credential; returns the refresh token that replaced it meanwhile, if one did. Ends with exit code 1."""
    account = account_of(given.secret, google.oauth_client)
    with refusals():
        candidate = Candidate(given.who, given.remedy, calendar, google.google_api_root)
        return try_credential(account, candidate, google.google_token_uri)


@contextmanager
def refusals() -> Iterator[None]:
    """End the command with exit code 1 and the sentence where Google refuses, or cannot be asked."""
    try:
        yield
    except (PermanentError, TransientError) as error:
        note(str(error))
        raise typer.Exit(1) from error


def checked(calendar: str) -> str:
    """Make sure that it can be a calendar's id."""
    if not 0 < len(calendar) <= 1_024 or calendar.split() != [calendar] or not calendar.strip("."):
        raise ConfigurationError("--calendar is a calendar's id, such as team@group.calendar.google.com, or `primary`.")
    return calendar


def report(said: dict[str, Any], *, as_json: bool) -> None:
    """Print the result of storing a consent."""
    if as_json:
        print_json(said)
        return
    note(f"Workspace {said['workspace']} is connected{'' if said['new'] else ' again'}.")
    _tell_requeued(said["requeued"])
    rebuild = f"`python -m reactor rebuild --workspace {said['workspace']}`"
    if said["calendar_changed"]:
        note(
            "Its calendar is another one than before. Events stay in the former one until they change, or "
            f"until {rebuild} moves all of them. Where this account cannot see the former one they stay there: "
            "delete them by hand."
        )
    elif said["calendar"] == PRIMARY and not said["new"]:
        note(
            f"If this is another account than before, {rebuild} makes the events anew in its calendar. Those in "
            "the former account's calendar stay there: delete them by hand."
        )


@app.command(
    epilog="""Example:

    python -m reactor connections enable --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10"""
)
def enable(
    *, workspace: Workspace, reason: Reason = None, as_json: AsJson = False, database_url: DatabaseUrl = None
) -> None:
    """Mark a connection valid, put back what died for want of it, and wake the reactor.

    For a connection that was disabled by hand, or whose cause is gone (an administrator's policy). A consent that was
    revoked does not come back so: the next item marks it invalid again. Use `connect`.

    Exit codes: 0 it is valid; 2 it has no connection, wrong use or no database.
    """
    _set(workspace, valid=True, reason=reason, as_json=as_json, database_url=database_url)


@app.command(
    epilog="""Example:

    python -m reactor connections disable --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10"""
)
def disable(
    *, workspace: Workspace, reason: Reason = None, as_json: AsJson = False, database_url: DatabaseUrl = None
) -> None:
    """Mark a connection invalid: nothing of the workspace is sent, and nothing is lost, until `enable`.

    What is in flight is finished.

    Exit codes: 0 it is invalid; 2 it has no connection, wrong use or no database.
    """
    _set(workspace, valid=False, reason=reason, as_json=as_json, database_url=database_url)


def _set(workspace: UUID, *, valid: bool, reason: str | None, as_json: bool, database_url: str | None) -> None:
    with sentences(), open_admin_session(read_dsn(database_url), name="connections") as admin:
        said = connections.set_valid(admin, workspace, valid=valid, by=author(reason))
    if as_json:
        print_json(said)
        return
    state = "valid" if valid else "invalid: what it holds back waits"
    note(f"The connection of workspace {workspace} {'is now' if said['changed'] else 'was already'} {state}.")
    _tell_requeued(said["requeued"])


def _tell_requeued(number: int) -> None:
    if number:
        note(f"{many(number, connections.REQUEUED, 'dead letter')} put back.")
