"""Commands, called as an operator calls them."""

import json
import os
from typing import Any

import trio
import typer.main
from typer.testing import CliRunner, Result

from reactor.cli import app
from reactor.settings import Settings
from tests.support.databases import Database
from tests.support.google_fixtures import GoogleServer
from tests.support.process_world import KEYS

NOTHING: dict[str, str | None] = {
    **{name.upper(): None for name in Settings.model_fields},
    "SUPABASE_URL": None,
    **dict.fromkeys(("PGSSLMODE", "SSL_CERT_FILE")),
    "COLUMNS": "200",
}


def call(dsn: str | None, *arguments: str, stdin: str = "", **environment: str) -> Result:
    """Run a command with this environment and no other."""
    runner = CliRunner(env={**NOTHING, "TOKEN_ENCRYPTION_KEYS": KEYS, "DATABASE_URL": dsn, **environment})
    result = runner.invoke(app, arguments, input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def document(database: Database, *arguments: str, code: int = 0, **environment: str) -> Any:
    """Run a command with --json; return what it printed."""
    result = call(database.reactor, *arguments, "--json", **environment)
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


async def call_beside(google: GoogleServer, dsn: str | None, *arguments: str, **environment: str) -> Result:
    """Run a command while the emulator, which lives in this loop, goes on."""

    def run() -> Result:
        return call(dsn, *arguments, **{**settings_of(google), **environment})

    return await trio.to_thread.run_sync(run)


def settings_of(google: GoogleServer) -> dict[str, str]:
    """What points a command at the emulator."""
    return {
        "GOOGLE_API_ROOT": google.api_root,
        "GOOGLE_TOKEN_URI": google.token_uri,
        "GOOGLE_AUTH_URI": f"{google.url}/o/oauth2/v2/auth",
        "GOOGLE_CLIENT_ID": google.client_id,
        "GOOGLE_CLIENT_SECRET": google.client_secret,
    }


def inherited(**more: str) -> dict[str, str]:
    """The environment of a process: ours without anything of the reactor's."""
    return {name: value for name, value in os.environ.items() if name not in NOTHING} | more


def whole() -> Any:
    """The parser with every command imported, for what looks at all of them."""
    command: Any = typer.main.get_command(app)
    for name in command.list_commands(None):
        command.get_command(None, name)
    return command
