"""A database with the example application."""

import psycopg

from reactor.postgres.setup import schema
from reactor.postgres.setup.migrations import migrate


def make_example(dsn: str) -> None:
    """Make an empty database the example's: tables, migrations, events, triggers, in this order."""
    tables, *rest = schema.examples()
    with psycopg.connect(dsn) as connection:
        connection.execute(tables.text.encode())
    migrate(dsn, progress=lambda _: None)
    with psycopg.connect(dsn) as connection:
        for script in rest:
            connection.execute(script.text.encode())
