"""psycopg's errors as ours: was a statement refused, or is there nobody to refuse it?"""

import psycopg

from reactor.errors import RefusedError, TransientError

_GONE = ("08", "57P")
"""Classes of SQLSTATE with which a server ends a connection, or does not begin one: a failure of the connection, a
shut-down, a start-up. As a mere error they come from what a trigger calls, such as another server."""


def as_ours(error: psycopg.Error) -> TransientError:
    """What to raise for an error of psycopg's: `RefusedError` where the session goes on."""
    state = error.sqlstate
    if state is not None and (error.diag.severity_nonlocalized == "ERROR" or not state.startswith(_GONE)):
        return RefusedError(state)
    if isinstance(error, psycopg.OperationalError):
        return TransientError(f"Cannot connect to the database: {str(error).strip()}")
    return RefusedError(type(error).__name__)  # psycopg's own: a value that cannot be sent or read
