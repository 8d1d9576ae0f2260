"""psycopg's errors as ours: was a statement refused, and for one row's sake, or could it not reach the server?"""

import psycopg

from reactor.errors import ConfigurationError, RefusedError, TransientError
from reactor.postgres.connection.dsn import refused_parameter

_GONE = ("08", "57P")
"""Classes of SQLSTATE with which a server ends a connection, or does not begin one: a failure of the connection, a
shut-down, a start-up. As a mere error they come from what a trigger calls, such as another server."""
_OF_EVERYBODY = frozenset({"08", "25", "28", "3D", "40", "42", "53", "55", "57", "58", "F0"})
"""Classes of SQLSTATE: the connection, the session, rights and names, resources, locks, the server itself. Every other
one is about data, or an application's own, which its triggers raise."""


def as_ours(error: psycopg.Error) -> TransientError:
    """Map an error of psycopg's: `RefusedError` where the session goes on."""
    state = error.sqlstate
    if state is not None and (error.diag.severity_nonlocalized == "ERROR" or not state.startswith(_GONE)):
        return RefusedError(state)
    if isinstance(error, psycopg.OperationalError):
        return TransientError(unreachable(error))
    return RefusedError(type(error).__name__)  # psycopg's own: a value that cannot be sent or read


def not_connected(error: psycopg.OperationalError, advice: str = "") -> ConfigurationError | TransientError:
    """The error where there is no connection: a parameter that the server refuses is a setting's fault.

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


def blames_row(sqlstate: str | None) -> bool:
    """Whether an error is by its code about a row that the statement met.

    Others may be so too: a trigger may raise anything. That shows only where less is tried and passes.
    """
    return sqlstate is not None and sqlstate[:2] not in _OF_EVERYBODY


def may_be_divided(sqlstate: str | None) -> bool:
    """Whether less work at once may pass; that includes a time-out, because one row may have caused it."""
    return blames_row(sqlstate) or sqlstate in {"57014", "53200"}
