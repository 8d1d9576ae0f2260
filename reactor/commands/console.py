"""`console`: the operator's pages."""

import trio
import typer

from reactor.commands.output import note
from reactor.errors import ConfigurationError
from reactor.settings import unknown_variables

_EXTRA = ("starlette", "jinja2", "markupsafe")


def console() -> None:
    """Serve the operator's pages: how the outbox is, what needs a person, and why an event is not in the calendar.

    On 127.0.0.1:8400 by default. It prints a link with a key that is good for one browser, and the next one when it is
    used. Beyond the loopback it takes a proxy that says who a person is. SIGTERM and Ctrl-C end it. Everything is set
    by environment variables: docs/console.md.

    Exit codes: 0 stopped as asked; 1 stopped at once, or failed; 2 a person has to change something.
    """
    try:
        from reactor.console.run import run  # noqa: PLC0415  (the other commands need none of it)
        from reactor.console.settings import ConsoleSettings  # noqa: PLC0415  (as above)
        from reactor.observability import logs  # noqa: PLC0415  (as above)
    except ModuleNotFoundError as error:
        lacking = (error.name or "").partition(".")[0]
        if lacking not in _EXTRA:
            raise
        note(f"The console needs {lacking}: install it with `pip install 'calendar-sync-reactor[console]'`.")
        raise typer.Exit(2) from None

    async def serve() -> bool:
        return await run(settings, say=lambda address: typer.echo(f"The console: {address}"))

    for problem in unknown_variables(prefix="CONSOLE_", fields=ConsoleSettings.model_fields, page="docs/console.md"):
        note(f"Warning: {problem}")
    try:
        settings = ConsoleSettings.from_environment()
        logs.configure(settings.log_format, level=settings.log_level)
        in_order = trio.run(serve)
    except ConfigurationError as error:
        note(str(error))
        raise typer.Exit(2) from error
    raise typer.Exit(0 if in_order else 1)


app = typer.Typer()
app.command()(console)
