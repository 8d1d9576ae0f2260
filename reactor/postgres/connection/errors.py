"""psycopg's errors as ours: was a statement refused, or is there nobody to refuse it?"""

import psycopg

from reactor.errors import ConfigurationError, RefusedError, TransientError
from reactor.postgres.connection.dsn import refused_parameter

_GONE = ("08", "57P")
"""Classes of SQLSTATE with which a server ends a connection, or does not begin one: a failure of the connection, a
shut-down, a start-up. As a mere error they come from what a trigger calls, such as another server."""


def as_ours(error: psycopg.Error) -> TransientError:
    """What to raise for an error of psycopg's: `RefusedError` where the session goes on."""
    state = error.sqlstate
    if state is not None and (error.diag.severity_nonlocalized == "ERROR" or not state.startswith(_GONE)):
        return RefusedError(state)
    if isinstance(error, psycopg.OperationalError):
        return TransientError(unreachable(error))
    return RefusedError(type(error).__name__)  # psycopg's own: a value that cannot be sent or read


def not_connected(error: psycopg.OperationalError, advice: str = "") -> ConfigurationError | TransientError:
    """What to raise where there is no connection: a parameter that the server refuses is a setting's fault.

    Args:
        error: What libpq said.
        advice: What a person may do, a sentence; empty where the connection is tried again anyway.
    """
    if refused := refused_parameter(str(error)):
        return ConfigurationError(refused)
    said = unreachable(error)
    return TransientError(f"{said.rstrip('.')}. {advice}" if advice else said)


def unreachable(error: psycopg.Error) -> str:
    """The sentence about a connection that could not be made, or has broken."""
    return f"Cannot connect to the database: {str(error).strip()}"
