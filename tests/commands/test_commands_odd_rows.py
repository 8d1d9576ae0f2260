"""Whatever rows hold, each command goes on for the others: no traceback, no endless text, nothing a terminal obeys."""

from collections.abc import Iterator
from random import Random
from uuid import UUID, uuid4

import psycopg
import pytest

from reactor.core.health import HealthFacts
from reactor.housekeeping import Housekeeping
from reactor.postgres.connection.pool import Pool
from reactor.postgres.setup.migrations import migrate
from tests.support.commands import call
from tests.support.databases import Database, Server, deploy
from tests.support.odd_rows import KINDS, draw, insert, loosen
from tests.support.outbox_world import World

WORKSPACES = [UUID(int=n) for n in range(1, 4)]
LONGEST = 20_000  # characters of a line
COMMANDS = (
    ("status",),
    ("dead-letters", "list"),
    ("dead-letters", "requeue", "--all", "--dry-run"),
    ("connections", "list"),
    ("locks",),
    ("brake", "list"),
    ("check",),
)


@pytest.fixture(params=["adopted", pytest.param("fresh", marks=pytest.mark.soak)])
def poisoned(request: pytest.FixtureRequest, postgres: Server, reactor_login: dict[str, str]) -> Iterator[Database]:
    """A database with a row of every kind, and more at random; half of the workspaces have odd connections."""
    name = postgres.create_database()
    dsn = postgres.dsn(name)
    if request.param == "adopted":
        deploy(dsn, items=0)
    migrate(dsn, progress=lambda _: None)
    with psycopg.connect(dsn, autocommit=True) as owner:
        if request.param == "adopted":
            owner.execute("insert into workspaces (id, name) select unnest(%s::uuid[]), 'w'", (WORKSPACES,))
            loosen(owner)
        random = Random(20)
        for kind in [*KINDS, *draw(random, 60)]:
            insert(owner, kind, random.choice(WORKSPACES), uuid4())
        for workspace, token, calendar in zip(
            WORKSPACES, ("x" * 1_000_000, "\x1b[31mé", ""), ("primary", "c" * 1_000_000, "\x1b]0;t\x07"), strict=True
        ):
            owner.execute(
                "insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id, updated_at)"
                " values (%s, %s, %s, 'infinity')",
                (workspace, token, calendar),
            )
    yield Database(owner=dsn, reactor=postgres.dsn(name, **reactor_login))
    postgres.drop_database(name)


def said(database: Database, *command: str) -> None:
    for more in ((), ("--json",)):
        result = call(database.reactor, *command, *more)
        assert result.exit_code in (0, 1), (command, result.output[:500])
        assert max(map(len, result.output.splitlines()), default=0) <= LONGEST, command
        assert "\x1b" not in result.output, command


def test_no_command_ends_for_what_a_row_holds(poisoned: Database) -> None:
    for command in COMMANDS:
        said(poisoned, *command)
    for workspace in WORKSPACES:
        said(poisoned, "status", "--workspace", str(workspace))
    with psycopg.connect(poisoned.owner) as owner:
        rows = owner.execute("select id, operation::text from sync_outbox").fetchall()
    for item_id, operation in Random(6).sample(rows, 30):
        said(poisoned, "dead-letters", "show", str(item_id))
        if operation == "REBUILD_ALL":
            said(poisoned, "status", "--rebuild", str(item_id))
    for item_id, operation in Random(5).sample(rows, 5):
        if operation != "REBUILD_ALL":
            said(poisoned, "explain", str(item_id))


def test_what_can_be_put_back_is_whatever_else_is_odd(poisoned: Database) -> None:
    with psycopg.connect(poisoned.owner, autocommit=True) as owner:
        [[dead]] = owner.execute("select count(*) from sync_outbox where status = 'DEAD_LETTER'").fetchall()
    result = call(poisoned.reactor, "dead-letters", "requeue", "--all", "--rate", "1000")
    assert result.exit_code == 0, result.output
    assert f"{dead} put back" in result.output


def test_a_dead_letter_that_the_table_refuses_is_left_alone(world: World, database: Database) -> None:
    ids = [world.insert(f"s{n}", status="DEAD_LETTER") for n in range(3)]
    kept = f"check (status = 'DEAD_LETTER' or id <> '{ids[1]}')"
    world.connection.execute(f"alter table sync_outbox add constraint mine {kept} not valid".encode())
    result = call(database.reactor, "dead-letters", "requeue", "--all", "--rate", "100")
    assert result.exit_code == 1
    assert f"{ids[1]} cannot be put back: the database refuses it (SQLSTATE 23514)." in result.output
    assert [world.status(each)[0] for each in ids] == ["PENDING", "DEAD_LETTER", "PENDING"]


async def test_the_gauges_are_measured_whatever_times_rows_hold(poisoned: Database) -> None:
    pool = Pool(poisoned.reactor)
    rounds = Housekeeping(pool, HealthFacts({}), retention_days=30)
    await rounds.measure()
    await rounds.clean()
    await pool.aclose()
    assert rounds.pending > 0
    assert 0 <= rounds.oldest_due <= rounds.oldest_pending < 1e12


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    world = World(database)
    yield world
    world.close()
