"""`python -m reactor`."""

import sys


def main() -> None:
    """Run the command line; Ctrl-C is a quiet end, also while modules are still being imported."""
    try:
        from reactor.cli import app  # noqa: PLC0415  (importing takes a second, in which people change their minds)

        app()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
