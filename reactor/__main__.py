"""`python -m reactor`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it quietly, an unexpected error ends it with a log line and exit code 1."""
    try:
        _run()
    except KeyboardInterrupt:
        sys.exit(130)


def _run() -> None:
    from reactor.observability import crashes  # noqa: PLC0415  (importing takes time, in which people change their minds)

    crashes.watch()
    try:
        from reactor.cli import app  # noqa: PLC0415  (as above)

        app()
    except (Exception, BaseExceptionGroup) as error:  # noqa: BLE001  (whatever it is)
        if isinstance(error, BaseExceptionGroup) and error.subgroup(KeyboardInterrupt):
            raise KeyboardInterrupt from None
        crashes.report(error)
        sys.exit(1)


if __name__ == "__main__":
    main()
