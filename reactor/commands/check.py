"""`check`: checks everything that the service needs, and says for each problem what to do."""

from dataclasses import asdict

import typer

from reactor.commands.options import AsJson, DatabaseUrl
from reactor.commands.output import print_json, print_table
from reactor.desk.check.finding import CheckVerdict
from reactor.desk.check.run import findings


def check(*, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Look whether the service could work here: settings, database, schema, rights, keys, Google, clocks.

    Changes nothing. Run it where the service runs, with the service's settings.

    Exit codes: 0 nothing has failed; 1 something has.
    """
    found = list(findings(database_url=database_url))
    if as_json:
        print_json([asdict(finding) for finding in found])
    else:
        print_table(("check", "is", "what it says"), [tuple(asdict(finding).values()) for finding in found])
    raise typer.Exit(1 if any(finding.verdict is CheckVerdict.FAIL for finding in found) else 0)


EPILOG = """Examples:

    python -m reactor check

    python -m reactor check --json | jq '.[] | select(.verdict != "ok")'"""

app = typer.Typer()
app.command(epilog=EPILOG)(check)
