"""Backups of a test's database, and what comes of restoring them."""

import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, cast
from uuid import UUID

import psycopg
from psycopg import errors, sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

TABLES = """
select tablename from pg_tables where schemaname = 'public'
   and (tablename like 'sync%' or tablename in ('google_connections', 'calendar_event_bindings', 'app_events'))
"""
ALONE = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()"

Connection = psycopg.Connection[tuple[Any, ...]]
Sequence = Literal["as it was", "left", "restarted"]


@dataclass(frozen=True)
class Taken:
    """A backup.

    Attributes:
        at: When it was taken.
        number: Its number, from 1.
        how: All tables in one transaction, or the whole database as a template.
        place: Where the sequence of places was.
        accounts: Whose accounts the workspaces had.
    """

    at: float
    number: int
    how: str
    place: tuple[int, bool]
    accounts: dict[UUID, str]


class Backups:
    """Those of one database."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._database = str(conninfo_to_dict(dsn)["dbname"])
        self._kept: list[Taken] = []
        self._number = 0

    def take(self, how: str, accounts: dict[UUID, str]) -> None:
        """Make one; of a template nobody else may be in the database."""
        self._number += 1
        at = time.time()
        with psycopg.connect(self._dsn) as copying:
            copying.execute("set transaction isolation level repeatable read")
            place = copying.execute("select last_value, is_called from sync_outbox_seq").fetchone()
            for table in self._tables(copying) if how == "tables" else ():
                copy = sql.SQL("create table backups.{} as table public.{}")
                copying.execute(copy.format(sql.Identifier(f"{table}_{self._number}"), sql.Identifier(table)))
        taken = Taken(at, self._number, how, cast("tuple[int, bool]", place), dict(accounts))
        if how == "template":
            self._run(sql.SQL("create database {} template {}").format(_clone(self._database, taken), self._name))
        self._kept.append(taken)

    def find(self, number: int) -> Taken | None:
        """A backup, counted back from the last one; None where there is none at all."""
        return self._kept[-1 - number % len(self._kept)] if self._kept else None

    def restore(self, taken: Taken, sequence: Sequence, *, quiet: bool) -> None:
        """Put one back. A template takes the place of the database, so nobody else may be in it.

        Args:
            taken: Which.
            sequence: What becomes of the sequence of places.
            quiet: Whether triggers are off, as for `pg_restore --disable-triggers`.
        """
        if taken.how == "template":
            self._run(
                sql.SQL("drop database {} with (force)").format(self._name),
                sql.SQL("create database {} template {}").format(self._name, _clone(self._database, taken)),
            )
            lost = [each for each in self._kept if each.number > taken.number and each.how == "tables"]
            self._kept = [each for each in self._kept if each not in lost]  # they lay in the database that is gone
        else:
            locked_out(lambda: self._copy_back(taken, quiet=quiet))
        with psycopg.connect(self._dsn) as owner:
            if sequence == "restarted":
                owner.execute("alter sequence sync_outbox_seq restart")
            elif sequence == "as it was":
                owner.execute("select setval('sync_outbox_seq', %s, %s)", taken.place)

    def drop(self) -> None:
        """Drop the templates."""
        for taken in self._kept:
            if taken.how == "template":
                self._run(sql.SQL("drop database if exists {}").format(_clone(self._database, taken)))

    def _copy_back(self, taken: Taken, *, quiet: bool) -> None:
        with psycopg.connect(self._dsn) as copying:
            if quiet:
                copying.execute("set local session_replication_role = replica")
            tables = self._tables(copying)
            copying.execute(sql.SQL("truncate {}").format(sql.SQL(", ").join(map(sql.Identifier, tables))))
            for table in tables:
                back = sql.SQL("insert into public.{} overriding system value table backups.{}")
                copying.execute(back.format(sql.Identifier(table), sql.Identifier(f"{table}_{taken.number}")))

    @staticmethod
    def _tables(connection: Connection) -> list[str]:
        return [name for (name,) in connection.execute(TABLES)]

    @property
    def _name(self) -> sql.Identifier:
        return sql.Identifier(self._database)

    def _run(self, *statements: sql.Composed) -> None:
        """Run statements on the server, from another database, after everybody was sent out of this one."""
        with psycopg.connect(make_conninfo(self._dsn, dbname="postgres"), autocommit=True) as server:
            server.execute(ALONE, (self._database,))
            for statement in statements:
                server.execute(statement)


def _clone(database: str, taken: Taken) -> sql.Identifier:
    return sql.Identifier(f"{database}_{taken.number}")


def locked_out(change: Any) -> None:
    """Do what takes whole tables, beside replicas that are in the way of it now and then."""
    for _ in range(20):
        with suppress(errors.DeadlockDetected):
            change()
            return
    raise AssertionError("replicas were in the way for too long")
