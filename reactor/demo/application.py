"""The demo's application: writes what the scenario says, and notes when each row of the outbox was committed."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from psycopg import sql

from reactor.demo.sample import Change, Verb
from reactor.demo.scenario import ScenarioStep
from reactor.postgres.connection.driver import TrioConnection
from reactor.postgres.connection.session import Session

Committed = Callable[[range, float], None]

_LAST_SEQ = "select case when is_called then last_value else -1 end from sync_outbox_seq"
_STEP = 2  # the sequence goes by twos, 1, 3, 5 (db/migrations/0026_order.sql)


class Application:
    """Carries out the steps of the scenario; the triggers of db/examples write the outbox.

    Args:
        session: A session of its own, as the owner of the tables.
        committed: Called with the places (`seq`) of the rows of each transaction and its time of commit. The demo is
            the only writer, so the sequence says which they are.
        before: Called before each transaction.
    """

    def __init__(self, session: Session, committed: Committed, before: Callable[[], object] = lambda: None) -> None:
        self._session = session
        self._committed = committed
        self._before = before
        self._last_seq = -1

    async def carry_out(self, step: ScenarioStep) -> None:
        """Do what a step says, one transaction after the other."""
        for changes in step.transactions:
            self._before()
            seqs, at = await self._session.run(partial(self._transaction, changes))
            self._committed(seqs, at)

    async def _transaction(self, changes: Sequence[Change], connection: TrioConnection) -> tuple[range, float]:
        """Write the changes and commit them."""
        async with connection.transaction():
            for change in changes:
                await connection.execute(*_statement(change))
            found = await (await connection.execute(_LAST_SEQ)).fetchone()
        at = time.time()
        assert found is not None  # noqa: S101  (for the type checker)
        seqs = range(self._last_seq + _STEP, found[0] + 1, _STEP)
        self._last_seq = found[0]
        return seqs, at


def _statement(change: Change) -> tuple[sql.Composed, dict[str, Any]]:
    table, columns = sql.Identifier(change.table), list(change.values)
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    values = sql.SQL(", ").join(map(sql.Placeholder, columns))
    texts = {
        Verb.INSERT: sql.SQL("insert into {0} (id, {1}) values (%(id)s, {2})"),
        Verb.UPDATE: sql.SQL("update {0} set ({1}) = row({2}) where id = %(id)s"),
        Verb.DELETE: sql.SQL("delete from {0} where id = %(id)s"),
    }
    return texts[change.verb].format(table, names, values), {**change.values, "id": change.id}
