"""A primary and its standby: two servers of our own, one of which takes over when the other is killed.

The replication is synchronous, so what a client was told is committed is there after a failover.
"""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from reactor.postgres.setup.embedded import EmbeddedPostgres, embedded_postgres
from tests.support.databases import in_memory, wait_until


class Pair:
    """Two servers.

    Attributes:
        primary: The one that writes.
        standby: The one that follows.
    """

    def __init__(self, primary: EmbeddedPostgres, standby: EmbeddedPostgres) -> None:
        self.primary = primary
        self.standby = standby
        standby.stop("immediate")
        self.follow()

    def follow(self) -> None:
        """Make the server that is down a copy of the primary, which follows it from now on."""
        for entry in self.standby.data.iterdir():  # the directory above belongs to another user than the server's
            (shutil.rmtree if entry.is_dir() else Path.unlink)(entry)
        source = make_conninfo(self.primary.url(), application_name="standby")
        subprocess.run(
            [self.standby.bin_path / "pg_basebackup", "-d", source, "-D", self.standby.data, "-R", "-c", "fast"],
            check=True,
            user=self.standby._user,
            cwd="/",
            stderr=subprocess.DEVNULL,  # it tells of the socket that it leaves out
        )
        (self.standby.data / ".s.PGSQL.5432.lock").unlink()  # the primary's
        self.standby.start()
        wait_until(lambda: bool(self._ask("select true from pg_stat_replication where state = 'streaming'")))
        self._ask("alter system set synchronous_standby_names = '*'")  # it is not in the copy, which may become alone
        self._ask("select pg_reload_conf()")
        wait_until(lambda: self._ask("select sync_state from pg_stat_replication") == [("sync",)])

    def kill(self) -> None:
        """End the primary as a crash does."""
        self.primary.stop("immediate")

    def promote(self) -> None:
        """Let the standby write in its stead; return when it does."""
        self.standby._control("promote")
        self.primary, self.standby = self.standby, self.primary

    def _ask(self, statement: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.primary.url(), autocommit=True) as session:
            cursor = session.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


@contextmanager
def replicated() -> Iterator[Pair]:
    """A pair of fresh servers for the length of the block."""
    with embedded_postgres(below=in_memory()) as primary, embedded_postgres(below=in_memory()) as standby:
        yield Pair(primary, standby)
