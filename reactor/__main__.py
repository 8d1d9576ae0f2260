"""`python -m reactor`."""

from reactor.cli import app


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
