"""Whom an error of the server is about: one row, or everybody."""

_OF_A_ROW = frozenset({"09", "21", "22", "23", "2F", "38", "39", "44", "HV", "P0", "XX"})
"""Classes of SQLSTATE: bad data, violated constraints, what a trigger raises, a damaged page. The same as in
`sync_outbox_blames_row` (db/migrations/0025_claim_items.sql), but for class 42, a name that is missing: there the claim
sees whether other rows pass."""


def blames_row(sqlstate: str | None) -> bool:
    """Whether an error is about a row that the statement met, so that the others go on without it."""
    return sqlstate is not None and sqlstate[:2] in _OF_A_ROW


def may_be_divided(sqlstate: str | None) -> bool:
    """Whether less work at once may pass: also what takes too long may, for the sake of one row."""
    return blames_row(sqlstate) or sqlstate in {"57014", "54000", "54001", "53200", "DataError"}
