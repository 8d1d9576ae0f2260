"""What a person has to change is said in sentences, with exit code 2; nothing else ends the process."""

import os
import re
import signal
import socket
from pathlib import Path

import httpx
import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from typer.testing import CliRunner

from reactor.cli import app
from reactor.postgres.setup.inspection import problems
from reactor.settings import Settings
from tests.app.test_http import MALFORMED
from tests.support.process_world import Process, World
from tests.support.waiting import until


async def ends_with(process: Process, sentence: str) -> None:
    assert await process.ended() == 2
    assert sentence in process.output
    assert "Traceback" not in process.output


async def test_wrong_settings_are_all_named(world: World) -> None:
    process = world.start_afresh(CALENDAR_SYNC_BATCH_SIZE="many", LOG_FORMAT="xml", DATABASE_URL="")
    await ends_with(process, "CALENDAR_SYNC_BATCH_SIZE must be a whole number.")
    assert sorted(line.split()[0] for line in process.output.splitlines()) == [
        "CALENDAR_SYNC_BATCH_SIZE",
        "DATABASE_URL",
        "LOG_FORMAT",
    ]


async def test_a_port_that_is_taken(world: World) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        bind = f"127.0.0.1:{taken.getsockname()[1]}"
        await ends_with(world.start(HEALTH_BIND=bind), "HEALTH_BIND: cannot listen on 127.0.0.1")


async def test_a_database_without_the_schema(world: World, empty_database: str) -> None:
    process = world.start(DATABASE_URL=empty_database)
    await ends_with(process, "run `python -m reactor migrate` as the owner of its tables.")


async def test_a_database_that_lacks_a_trigger(world: World) -> None:
    world.execute("drop trigger sync_outbox_wake_insert on sync_outbox")
    with psycopg.connect(world.database.owner) as owner:
        [problem] = problems(owner)
    await ends_with(world.start(), problem)


async def test_the_applications_role(world: World) -> None:
    """It may change the outbox, and not what is the reactor's alone."""
    world.execute(
        "create role application login password 'x'; grant select, insert, update on sync_outbox to application"
    )
    try:
        process = world.start(DATABASE_URL=make_conninfo(world.database.owner, user="application", password="x"))
        await ends_with(process, "Use a login to which calendar_sync_reactor was granted")
        assert "owner of" not in process.output
    finally:
        world.execute("drop owned by application; drop role application")


async def test_malformed_connections_do_not_end_it(world: World) -> None:
    world.connect()
    process = await world.start().ready()
    port = int(process.url.rpartition(":")[2])
    for sent in MALFORMED:
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(0.05)
            try:
                client.sendall(sent)
                client.recv(1_000)
            except OSError:
                pass
    world.insert(1)
    await world.all_done(1)
    assert process.popen.poll() is None
    assert not process.events("session_lost"), "the work does not notice"
    await until(lambda: httpx.get(f"{process.url}/livez").status_code == 200)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0


@pytest.mark.parametrize("arguments", [[], ["run"]])
def test_without_a_command_it_runs(arguments: list[str], tmp_path: Path) -> None:
    nothing = {name.upper(): None for name in Settings.model_fields if name.upper() in os.environ}
    result = CliRunner().invoke(app, arguments, env=nothing)
    assert result.exit_code == 2
    assert re.findall(r"^[A-Z_]+ is not set", result.stderr, re.MULTILINE) == [
        "DATABASE_URL is not set",
        "GOOGLE_CLIENT_ID is not set",
        "GOOGLE_CLIENT_SECRET is not set",
        "TOKEN_ENCRYPTION_KEYS is not set",
    ]
