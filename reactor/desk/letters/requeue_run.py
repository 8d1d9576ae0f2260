"""A requeue as a run: dead letters are put back in portions at a rate, and its act says how far it is.

The act is recorded before the first portion, and each portion commits with its progress. A run that a person stops ends
before its next portion; one whose process dies is shown as broken off. What was put back stays so, and another run goes
on with the rest.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from time import monotonic, sleep
from uuid import UUID

import psycopg

from reactor.desk import act_run, acts
from reactor.desk.act_run import ActRun, RunState
from reactor.desk.acts import ActAuthor, ActKind
from reactor.desk.letters.dead_letters import SQL, LetterFilter, RequeueForecast, forecast as forecast_of
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession

PORTIONS = 5
"""Portions in a second."""
NAMED = 20
"""Ids that are recorded, where letters are chosen by their ids."""


@dataclass(frozen=True, slots=True)
class LetterRefusal:
    """A letter that the database refuses to put back, with its reason."""

    item: UUID
    sqlstate: str | None


@dataclass(frozen=True, slots=True)
class RequeueRun:
    """A requeue under way.

    Attributes:
        act: Its act, which counts what was put back.
        ids: The letters.
        rate: How many a second.
        began: When it began: what died since is left alone.
        refused: The letters that the database refused.
    """

    act: ActRun
    ids: list[UUID]
    rate: float
    began: datetime
    refused: list[LetterRefusal] = field(default_factory=list)

    def portions(self) -> Iterator[tuple[float, list[UUID]]]:
        """The portions, each with its time in seconds after the start, whatever those before it take."""
        size = max(1, int(self.rate / PORTIONS))
        for first in range(0, len(self.ids), size):
            yield first / self.rate, self.ids[first : first + size]

    def put_back(self, admin: AdminSession, ids: list[UUID]) -> None:
        """Put some back together, and one by one where the database refuses one of them for what it holds."""
        done = self.act.done
        try:
            with admin.connection.transaction():
                put = len(admin.rows(SQL["requeue"], ids=ids, began=self.began))
                self.act.proceed(admin, done + put)
        except psycopg.Error as error:
            self.act.done = done  # a commit may fail too
            if isinstance(error, psycopg.OperationalError):
                raise
            if len(ids) == 1:
                self.refused.append(LetterRefusal(ids[0], error.sqlstate))
                return
            for each in ids:
                self.put_back(admin, [each])


def begin(
    admin: AdminSession, which: LetterFilter, forecast: RequeueForecast, rate: float, by: ActAuthor
) -> RequeueRun:
    """Record the act and its forecast; nothing is put back yet."""
    began, of = acts.server_time(admin), len(forecast.ids)
    filters = {name: value for name, value in asdict(which).items() if value is not None and name != "workspace"}
    if which.ids:
        filters |= {"ids": which.ids[:NAMED], "number_of_ids": len(which.ids)}
    act = act_run.begin(
        admin,
        by,
        ActKind.REQUEUE,
        of=of,
        workspace=which.workspace,
        target=filters | {"rate": rate},
        forecast={"found": of, **forecast.fates},
    )
    return RequeueRun(act, forecast.ids, rate, began)


def begin_alone(
    admin: AdminSession, which: LetterFilter, forecast: RequeueForecast, rate: float, by: ActAuthor
) -> RequeueRun:
    """Begin a run, unless another one is under way.

    Raises:
        ConfigurationError: Another one is.
    """
    with admin.connection.transaction():
        admin.rows(acts.SQL["one_at_a_time"])
        other = admin.row(acts.SQL["running"], act=ActKind.REQUEUE)
        if other:
            raise ConfigurationError(
                f"Another requeue is under way, act {other['id']} by {other['who']}: wait for its end, or "
                f"stop it: run `python -m reactor acts stop {other['id']}`."
            )
        return begin(admin, which, forecast, rate, by)


def requeue_one(admin: AdminSession, item: UUID, by: ActAuthor) -> RequeueRun:
    """Put one letter back, with its act in the same transaction; a run that is under way does not matter.

    Raises:
        ConfigurationError: It is no dead letter.
    """
    which = LetterFilter(ids=[item])
    with admin.connection.transaction():
        found = forecast_of(admin, which)
        if not found.ids:
            raise ConfigurationError(f"Item {item} is no dead letter any more: look at it again.")
        run = begin(admin, which, found, 1.0, by)
        for _, ids in run.portions():
            run.put_back(admin, ids)
        run.act.end(admin, RunState.DONE)
    return run


def requeue(admin: AdminSession, run: RequeueRun, advance: Callable[[int, list[LetterRefusal]], object]) -> None:
    """Carry a run out, or as much of it as is done before it is stopped.

    Args:
        admin: The session.
        run: What `begin` returned.
        advance: Called after each portion, with how many were put back and what the database refused of it.
    """
    started = monotonic()
    with act_run.ending(admin, run.act):
        for after, ids in run.portions():
            sleep(max(0.0, started + after - monotonic()))
            done, known = run.act.done, len(run.refused)
            run.put_back(admin, ids)
            advance(run.act.done - done, run.refused[known:])
            if run.act.stops:
                break
