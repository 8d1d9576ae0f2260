"""Poison is what it says: a schema takes it, and it is as odd as its name."""

from uuid import UUID, uuid4

import psycopg
import pytest

from reactor.postgres.setup.migrations import migrate
from tests.support.databases import Database, deploy
from tests.support.odd_rows import KINDS, LIGHT, insert, loosen

NEVER_DUE = {"due: null", "a rebuild without a due time"}
REFUSED = NEVER_DUE | {
    "created: null", "updated: null", "attempts: less than none", "attempts: more than are allowed",
    "attempts: null", "attempts: null allowed", "processing by nobody, updated null", "status: null",
    "operation: null", "payload: null",
}  # fmt: skip
WORKSPACE = UUID(int=7)


def refused(dsn: str, kinds: list[str], *, loose: bool = False) -> set[str]:
    with psycopg.connect(dsn, autocommit=True) as owner:
        if loose:
            loosen(owner)
        return {kind for kind in kinds if insert(owner, kind, WORKSPACE, uuid4()) is None}


def test_a_fresh_table_takes_all_but_nulls_and_impossible_attempts(database: Database) -> None:
    assert len(KINDS) >= 30
    assert refused(database.owner, list(KINDS)) == REFUSED


@pytest.mark.parametrize(
    ("loose", "left"), [(False, REFUSED - NEVER_DUE), (True, {"operation: null", "payload: null"})]
)
def test_an_adopted_table_takes_more(empty_database: str, *, loose: bool, left: set[str]) -> None:
    dsn = deploy(empty_database, items=0)
    migrate(dsn, progress=lambda _: None)
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute("insert into workspaces (id, name) values (%s, 'w')", (WORKSPACE,))
    assert refused(dsn, LIGHT, loose=loose) == left
