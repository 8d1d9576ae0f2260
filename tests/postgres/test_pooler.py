"""Behind a pooler in transaction mode the reactor must not start; in session mode it works."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from reactor.errors import ConfigurationError, TransientError
from reactor.postgres.connection.pooler import require_sessions
from reactor.postgres.connection.session import open_session

PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")

CONFIGURATION = """
[databases]
{database} = host={host} port={port} user={user} {password} pool_size={pool_size}
[pgbouncer]
unix_socket_dir = {directory}
listen_port = 6432
listen_addr =
auth_type = any
pool_mode = {mode}
server_round_robin = {round_robin}
logfile = {directory}/log
"""


@pytest.fixture
def pooler(
    request: pytest.FixtureRequest, empty_database: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """PgBouncer in front of an empty database; the parameter is (mode, pool size, round robin)."""
    if not PGBOUNCER:
        pytest.skip("pgbouncer is not installed")
    mode, pool_size, round_robin = request.param
    server = {key: str(value) for key, value in conninfo_to_dict(empty_database).items() if value}
    directory = tmp_path_factory.mktemp("pgbouncer")
    owner = _unprivileged_owner(server.get("host", ""))
    configuration = directory / "pgbouncer.ini"
    configuration.write_text(
        CONFIGURATION.format(
            database=server["dbname"],
            host=server.get("host", "localhost"),
            port=server.get("port", "5432"),
            user=server["user"],
            password=f"password={server['password']}" if "password" in server else "",
            directory=directory,
            mode=mode,
            pool_size=pool_size,
            round_robin=round_robin,
        )
    )
    if owner:
        shutil.chown(directory, owner)
        for parent in list(directory.parents)[:3]:
            parent.chmod(parent.stat().st_mode | 0o011)
    process = subprocess.Popen([PGBOUNCER, "-q", str(configuration)], user=owner)
    dsn = make_conninfo(dbname=server["dbname"], user=server["user"], host=str(directory), port=6432)
    try:
        _wait_for(dsn, process)
        yield dsn
    finally:
        process.terminate()
        process.wait()


def _unprivileged_owner(socket_directory: str) -> str | None:
    """PgBouncer refuses to be root; whoever owns the server's socket may use it."""
    if os.geteuid() != 0:
        return None
    if not socket_directory.startswith("/"):
        return "nobody"
    return pwd.getpwuid(Path(socket_directory).stat().st_uid).pw_name


def _wait_for(dsn: str, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            psycopg.connect(dsn).close()
        except psycopg.OperationalError:
            continue
        return
    pytest.fail("pgbouncer ended")


@pytest.mark.parametrize(
    "pooler", [("transaction", 5, 0), ("transaction", 1, 0), ("transaction", 5, 1), ("statement", 5, 0)], indirect=True
)
def test_a_pooler_without_sessions_is_refused(pooler: str) -> None:
    with pytest.raises(ConfigurationError, match="pooler in session mode"):
        require_sessions(pooler)


@pytest.mark.parametrize("pooler", [("session", 5, 0), ("session", 5, 1)], indirect=True)
async def test_a_pooler_with_sessions_works(pooler: str) -> None:
    require_sessions(pooler)
    async with open_session(pooler, name="through the pooler") as session:
        assert await session.execute("select pg_try_advisory_lock(1)") == [(True,)]
        assert await session.execute(
            "select count(*) from pg_locks join pg_database as d on d.oid = database"
            " where locktype = 'advisory' and datname = current_database()"
        ) == [(1,)]


def test_a_direct_connection_is_not_suspected(empty_database: str) -> None:
    require_sessions(empty_database)


def test_a_database_that_is_not_there_is_not_a_pooler(tmp_path: Path) -> None:
    with pytest.raises(TransientError):
        require_sessions(f"host={tmp_path}")
