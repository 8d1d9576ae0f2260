"""What of the schema a database lacks."""

from collections.abc import Iterator
from typing import Any

import psycopg

from reactor.postgres.setup import schema
from reactor.postgres.setup.schema import OnTable, Script
from reactor.postgres.statements import statements

_SQL = statements("inspection")


def problems(connection: psycopg.Connection[Any], script: Script | None = None) -> list[str]:
    """Return what is not as the schema's files say, a sentence each.

    Args:
        connection: Any session that may read the record of the migrations.
        script: Look for what this file brings only; running it puts that right.
    """
    facts = _Facts(connection)
    scripts = [script] if script else [*schema.migrations(), schema.triggers(), schema.roles()]
    return [sentence for each in scripts for sentence in facts.check(each)]


def problems_in_one_transaction(connection: psycopg.Connection[Any]) -> list[str]:
    """As `problems`, in one transaction: seven each half a minute were a third of an idle replica's transactions."""
    with connection.transaction():
        return problems(connection)


def recorded(connection: psycopg.Connection[Any]) -> set[str]:
    """Return the names of the migrations that this database says were applied."""
    if connection.execute(_SQL["has_record"]).fetchone() != (True,):
        return set()
    return {name for (name,) in connection.execute(_SQL["recorded_migrations"])}


def invalid_indexes(connection: psycopg.Connection[Any], script: Script) -> list[str]:
    """Return the script's indexes whose build was interrupted: nothing uses them, and every write maintains them."""
    if not script.indexes:
        return []
    valid = _Facts(connection).indexes
    return [name for name in script.indexes if valid.get(name) is False]


class _Facts:
    """The catalogue as it is, read once."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self.recorded = recorded(connection)
        self.last_text = {name: each.id for each in schema.migrations() for name in each.functions}
        self.functions: dict[str, set[str]] = {}
        for name, body in connection.execute(_SQL["functions"]):
            self.functions.setdefault(name, set()).add(body)
        self.triggers = {
            OnTable(table, name): (enabled, comment)
            for table, name, enabled, comment in connection.execute(_SQL["triggers"])
        }
        self.indexes: dict[str, bool] = dict(connection.execute(_SQL["indexes"]).fetchall())
        self.tables = {table for (table,) in connection.execute(_SQL["tables"])}
        self.policies = {OnTable(table, name) for table, name in connection.execute(_SQL["policies"])}

    def check(self, script: Script) -> Iterator[str]:
        if script.is_migration and script.id not in self.recorded:
            yield f"Migration {script.id} is not applied."
            return
        yield from self._check_functions(script)
        yield from self._check_triggers(script)
        yield from self._check_indexes(script)
        for policy in script.policies:
            # yoyo's tables come into being with the first migration that it runs; with another tool, never.
            if policy not in self.policies and policy.table in self.tables:
                yield f"Policy {policy.name} on {policy.table} is missing."

    def _check_functions(self, script: Script) -> Iterator[str]:
        for name, body in script.functions.items():
            if script.is_migration and self.last_text[name] != script.id:
                continue  # a later one writes it anew
            if name not in self.functions:
                yield f"Function {name} is missing."
            elif body is not None and body not in self.functions[name]:
                yield f"Function {name} is not the one in {script.path.name}."

    def _check_triggers(self, script: Script) -> Iterator[str]:
        for trigger, wanted in script.triggers.items():
            enabled, comment = self.triggers.get(trigger, (None, ""))
            if enabled is None:
                yield f"Trigger {trigger.name} on {trigger.table} is missing."
            elif not enabled:
                yield f"Trigger {trigger.name} on {trigger.table} is disabled."
            elif comment != wanted:
                yield f"Trigger {trigger.name} on {trigger.table} is not the one in {script.path.name}."

    def _check_indexes(self, script: Script) -> Iterator[str]:
        for name in script.indexes:
            valid = self.indexes.get(name)
            if valid is None:
                yield f"Index {name} is missing."
            elif not valid:
                yield f"Index {name} is invalid: its build was interrupted."
