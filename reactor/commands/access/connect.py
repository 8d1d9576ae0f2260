"""`connect`: a person consents in the browser, and the token is stored.

We store nothing before we have seen that the account can change the calendar: people have several accounts, and pick
the wrong one.
"""

import webbrowser
from typing import Annotated

import typer

from reactor.commands.access.connections import Calendar, checked, refusals, report
from reactor.commands.access.loopback import Loopback
from reactor.commands.options import AsJson, DatabaseUrl, Reason, Verify, Workspace, author, read_number, read_whole
from reactor.commands.output import note, sentences
from reactor.desk import connections
from reactor.desk.access.consents import ConsentSettings, consent_candidate, consent_client, granted_token
from reactor.google.consent import ConsentClient, ask
from reactor.google.trial import Candidate
from reactor.postgres.connection.admin import open_admin_session

REMEDY = (
    "Look at --calendar, share the calendar with the account, with the right to make changes to events, or do it again "
    "with the account that owns it."
)


def connect(  # noqa: PLR0913  (options)
    *,
    workspace: Workspace,
    calendar: Calendar,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open a browser; the address is printed in any case.")
    ] = True,
    timeout: Annotated[
        float, typer.Option(parser=read_number(1), metavar="<float>", help="Seconds that the person has, 1 at least.")
    ] = 300.0,
    port: Annotated[
        int,
        typer.Option(
            parser=read_whole(0, 65_535),
            metavar="<int>",
            help='The port that Google sends the answer to, 0 for any free one. An OAuth client of the type "Web '
            'application" has http://127.0.0.1:<int> among its redirect URIs.',
        ),
    ] = 0,
    verify: Verify = True,
    reason: Reason = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Connect a workspace: ask a person for their consent in the browser, and store the refresh token, encrypted.

    The browser must run on this machine, or reach its loopback address through a tunnel (ssh -L). The OAuth client is
    of the type "Desktop app", or, with --port, a "Web application". The account must be able to change the calendar;
    that is looked at before anything is stored, unless --no-verify says not to. What died for want of a consent is put
    back at once.

    Exit codes: 0 connected; 1 no consent, or not the right one; 2 wrong use, a wrong setting or no database.
    """
    with sentences():
        settings = ConsentSettings.from_environment(database_url=database_url)
        client = consent_client(settings)
        checked(calendar)
        with open_admin_session(settings.database_url.get_secret_value(), name="connect") as admin:
            connections.dry_run_connect(admin, workspace, calendar)
        candidate = consent_candidate(settings, calendar, REMEDY) if verify else None
        token = _consent(settings, client, candidate, browser=browser, timeout=timeout, port=port)
        stored = settings.token_cipher.encrypt(workspace, token)
        with open_admin_session(settings.database_url.get_secret_value(), name="connect") as admin:
            said = connections.store(admin, workspace, calendar, stored, author(reason))
    report(said, as_json=as_json)


def _consent(
    settings: ConsentSettings,
    client: ConsentClient,
    candidate: Candidate | None,
    *,
    browser: bool,
    timeout: float,
    port: int,
) -> str:
    """Ask, wait, exchange, look at the calendar; returns the refresh token. Ends with exit code 1 where that fails."""
    with refusals():
        with Loopback(port) as loopback:
            question = ask(client, loopback.url)
            loopback.expect(question.state)
            opened = browser and webbrowser.open(question.url)
            note("Consent in the browser that has just opened, or open:" if opened else "Open in a browser:")
            note(f"\n  {question.url}\n")
            code = loopback.wait(timeout)
        return granted_token(settings, question, code, candidate)


EPILOG = """Examples:

    python -m reactor connect --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10 --calendar primary

    python -m reactor connect --workspace … --calendar team@group.calendar.google.com --no-browser --timeout 900

    python -m reactor connect --workspace … --calendar ben@example.com --port 8765"""

app = typer.Typer()
app.command(epilog=EPILOG)(connect)
