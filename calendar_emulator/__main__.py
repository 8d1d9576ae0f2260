"""`python -m calendar_emulator`: the emulator as a program of its own."""

import argparse
import sys
from collections.abc import Sequence
from functools import partial

import trio

from calendar_emulator.command import AddressError, parse_bind, run


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve an emulator until SIGINT or SIGTERM; return the exit code: 2 where the address cannot be used.

    Args:
        arguments: Those of the command line; None for the process's own.
    """
    parser = argparse.ArgumentParser("python -m calendar_emulator", description="Serve a Google Calendar in memory.")
    parser.add_argument("--bind", default="127.0.0.1:8085", metavar="HOST:PORT", help="port 0 takes any free one")
    parser.add_argument("--email", default="user@example.com", help="the user to begin with, and their calendar's id")
    parser.add_argument("--quota", action="store_true", help="apply Google's published limits")
    parser.add_argument("--allow-remote", action="store_true", help="accept an address that other machines can reach")
    given = parser.parse_args(arguments)
    try:
        host, port = parse_bind(given.bind, allow_remote=given.allow_remote)
        trio.run(partial(run, host, port, email=given.email, quota=given.quota, say=partial(print, flush=True)))
    except AddressError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
