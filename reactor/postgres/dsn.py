"""Where the database is: what can be said of a connection string without connecting."""

from collections.abc import Mapping

import psycopg
from psycopg.conninfo import conninfo_to_dict

from reactor.errors import ConfigurationError


def check_dsn(dsn: str) -> None:
    """Make sure that libpq can read a connection string.

    Raises:
        ConfigurationError: It cannot; the message is the end of a sentence that begins with the setting's name.
    """
    try:
        conninfo_to_dict(dsn)
    except psycopg.Error:  # its text quotes the string, password and all
        readable = False
    else:
        readable = True
    if not readable:
        raise ConfigurationError(
            "cannot be read: it is postgresql://user:password@host:port/database, with special characters of the "
            "password written as %XX"
        )


def missing_dsn(environment: Mapping[str, str]) -> str:
    """Say that there is no connection string, and which one to give.

    Args:
        environment: Where the settings of the worker that went before may still be.
    """
    if environment.get("SUPABASE_URL"):
        return (
            "DATABASE_URL is not set; SUPABASE_URL is not used any more, the reactor speaks SQL. Take the connection "
            "string of the direct connection or of the session pooler (port 5432) from the project's settings, "
            "not that of the transaction pooler (port 6543)."
        )
    return "DATABASE_URL is not set: the connection string of the PostgreSQL database, postgresql://..."
