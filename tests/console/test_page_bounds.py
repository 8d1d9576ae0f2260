"""What a page asks of the database is bounded, whatever the outbox holds: it is counted, and no time is taken.

The bounds in the code are lowered to a hundredth, so that a small database has more of everything than a page may
count. It is made as that of `python -m benchmarks console` is, which takes the times at full size.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from benchmarks.console import addresses, visit
from benchmarks.console_rows import fill
from reactor.console.app import PAGES
from tests.support.databases import Server

CONSOLE = (Path(__file__).resolve().parents[2] / "db" / "console.sql").read_bytes()
ROWS, WORKSPACES = 4_000, 300
BUFFERS = 2_000
"""Pages of tables and indexes that a page of the console may touch, beside those of two days of pulses."""
HIDDEN = 110
"""Payloads of which it may have the words hidden: each takes longer than all else that is done for a row."""
BOUNDS = {"CAP", "CHILDREN", "COUNT", "DEAD", "LISTED", "LISTED_CAP", "LOOKS", "RECENT", "ROWS"}
MORE_BOUNDS = {"BRIEF_RECENT", "BRIEF_ROWS", "BRIEF_WORKSPACES", "TOP", "WALKED", "WORKSPACES"}
CALLS = "select coalesce(sum(calls), 0) from pg_stat_user_functions where funcname = 'redacted'"

Connection = psycopg.Connection[Any]


@pytest.fixture(scope="module")
def viewer(postgres: Server, migrated_template: str) -> Iterator[tuple[str, Connection]]:
    """A filled database: a viewer's login, and the owner's session."""
    name, login = postgres.create_database(migrated_template), f"reactor_bounds_{os.getpid()}"
    with psycopg.connect(postgres.dsn(name), autocommit=True) as owner:
        if owner.info.server_version < 180_000:
            pytest.skip("buffers are counted by a function of PostgreSQL 18")
        for _ in fill(owner, ROWS, WORKSPACES):
            pass
        owner.execute(CONSOLE)
        made = sql.SQL("create role {} login password 'p' in role calendar_sync_viewer").format(sql.Identifier(login))
        owner.execute(made)
        owner.execute(sql.SQL("alter role {} set track_functions = 'all'").format(sql.Identifier(login)))
        yield postgres.dsn(name, user=login, password="p"), owner
        owner.execute(sql.SQL("drop owned by {0}; drop role {0}").format(sql.Identifier(login)))
    postgres.drop_database(name)


@pytest.fixture
def low_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every bound on what is read is a hundredth of what it is."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("reactor.console.", "reactor.desk.", "reactor.postgres.")):
            for bound in BOUNDS | MORE_BOUNDS:
                value = getattr(module, bound, None)
                if isinstance(value, int) and value >= 1_000:
                    monkeypatch.setattr(module, bound, value // 100)


@pytest.mark.usefixtures("low_bounds")
async def test_every_page_keeps_within_its_bounds(viewer: tuple[str, Connection]) -> None:
    dsn, owner = viewer
    sizes = "select pg_relation_size('sync_outbox') / 8192, pg_table_size('sync_pulses') / 8192"
    [[outbox, pulses]] = owner.execute(sizes).fetchall()
    bound = BUFFERS + pulses
    assert outbox > bound, "a look at the whole outbox would be seen"
    examples = addresses(owner)
    assert examples.keys() == {page.path for page in PAGES}
    beyond = {}
    async with visit(dsn, owner) as look:
        every = [each for several in examples.values() for each in several]
        for address in every[1:] + every[:1]:  # the first page last: its look is kept for a while
            if address != "/":
                await look(address)  # the first one reads more: the catalogue
            [[before]] = owner.execute(CALLS).fetchall()
            cost = await look(address)
            [[after]] = owner.execute(CALLS).fetchall()
            assert cost.status in (200, 303), address
            if cost.buffers > bound or after - before > HIDDEN:
                beyond[address] = (cost.buffers, int(after - before))
    assert not beyond, str(beyond)
