"""Whom an error of the server is about: one row, or everybody."""

_OF_EVERYBODY = frozenset({"08", "25", "28", "3D", "40", "42", "53", "55", "57", "58", "F0"})
"""Classes of SQLSTATE: the connection, the session, rights and names, resources, locks, the server itself. Every other
one is about data, or an application's own, which its triggers raise."""


def blames_row(sqlstate: str | None) -> bool:
    """Whether an error is by its code about a row that the statement met.

    Others may be so too: a trigger may raise anything. That shows only where less is tried and passes.
    """
    return sqlstate is not None and sqlstate[:2] not in _OF_EVERYBODY


def may_be_divided(sqlstate: str | None) -> bool:
    """Whether less work at once may pass: also what takes too long may, for the sake of one row."""
    return blames_row(sqlstate) or sqlstate in {"57014", "53200"}
