"""`emulator`: a Google Calendar to try things with."""

from functools import partial
from typing import Annotated

import typer

from reactor.commands.output import note


def emulator(
    bind: Annotated[str, typer.Option(help="Address and port to listen on; port 0 takes any free one.")] = (
        "127.0.0.1:8085"
    ),
    email: Annotated[str, typer.Option(help="The user to begin with, and the id of their calendar.")] = (
        "user@example.com"
    ),
    quota: Annotated[  # noqa: FBT002  (an option)
        bool, typer.Option("--quota", help="Apply Google's published limits: 600 requests a minute and user.")
    ] = False,
    allow_remote: Annotated[  # noqa: FBT002  (an option)
        bool, typer.Option("--allow-remote", help="Accept an address that other machines can reach.")
    ] = False,
) -> None:
    """Serve a Google Calendar in memory; prints the settings that point the reactor at it.

    Exit codes: 0 stopped as asked; 2 wrong use, or the port is taken.
    """
    import trio  # noqa: PLC0415  (no other command needs any of it)

    from calendar_emulator import command  # noqa: PLC0415  (as above)

    try:
        host, port = command.parse_bind(bind, allow_remote=allow_remote)
        trio.run(partial(command.run, host, port, email=email, quota=quota, say=typer.echo))
    except command.AddressError as error:
        note(str(error))
        raise typer.Exit(2) from error


app = typer.Typer()
app.command(epilog="Example: python -m reactor emulator --bind 127.0.0.1:8085")(emulator)
