"""The worker that went before and the reactor on one outbox: side by side, then the reactor alone."""

import signal
import threading
from functools import partial
from typing import Self
from uuid import UUID

import httpx
import psycopg
import pytest
import trio
from psycopg.conninfo import make_conninfo

from reactor.postgres.setup.migrations import migrate
from tests.support.databases import Database, deploy
from tests.support.google_fixtures import GoogleServer
from tests.support.process_world import WORKSPACE, Process, World
from tests.support.waiting import until

_ROUND_TRIP = 0.005  # seconds: it speaks HTTP to the database
ENOUGH = 10  # items that each of them has to do


@pytest.fixture
def database(empty_database: str, reactor_login: dict[str, str]) -> Database:
    """A deployed database, adopted."""
    deploy(empty_database, items=0)
    migrate(empty_database, progress=lambda _: None)
    with psycopg.connect(empty_database) as owner:
        owner.execute("insert into workspaces (id, name) values (%s, 'side by side')", (WORKSPACE,))
    return Database(owner=empty_database, reactor=make_conninfo(empty_database, **reactor_login))


class OldWorker:
    """What the polling worker does: ten items at a time, one by one, each under the function's lock.

    It knows nothing of `claim_no` or sources, lets Google choose the event's id, and writes the binding. Its poll has
    no pause here, so that there is something to be done for both.
    """

    def __init__(self, database: Database, google: GoogleServer) -> None:
        self.done: list[UUID] = []
        self.error: Exception | None = None
        self._database = database
        token = google.emulator.issue_access_token(google.user)
        self._events = f"{google.api_root}calendar/v3/calendars/{google.user}/events"
        self._client = httpx.Client(headers={"Authorization": f"Bearer {token}"}, timeout=30)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()
        assert self.error is None, self.error

    def _run(self) -> None:
        try:
            with psycopg.connect(self._database.owner, autocommit=True) as session:
                while not self._stop.is_set():
                    self._poll(session)
        except Exception as error:  # noqa: BLE001  (told to the test)
            self.error = error

    def _poll(self, session: psycopg.Connection[tuple[object, ...]]) -> None:
        found = session.execute(
            "select id, payload from sync_outbox where status in ('PENDING', 'FAILED') and next_attempt_at <= now()"
            " order by created_at limit 10"
        ).fetchall()
        for item_id, payload in found:
            if session.execute("select try_lock_outbox_item(%s)", (item_id,)).fetchone() != (True,):
                continue
            try:
                self._do(session, item_id, payload)
            finally:
                session.execute("select unlock_outbox_item(%s)", (item_id,))

    def _do(self, session: psycopg.Connection[tuple[object, ...]], item_id: object, payload: object) -> None:
        assert isinstance(item_id, UUID)
        assert isinstance(payload, dict)
        looked = session.execute("select status from sync_outbox where id = %s", (item_id,)).fetchone()
        if looked not in (("PENDING",), ("FAILED",)):
            return
        self._stop.wait(_ROUND_TRIP)  # nothing but the lock stands between the look and what follows
        taken = "update sync_outbox set status = 'PROCESSING' where id = %s returning claim_no"
        assert session.execute(taken, (item_id,)).fetchone() == (None,), "its row has no claim of the reactor's"
        event = payload["event"]
        times = {name: {"dateTime": event[name]} for name in ("start", "end")}
        made = self._client.post(self._events, json={"summary": event["title"], **times}).raise_for_status().json()
        session.execute(
            "insert into calendar_event_bindings (workspace_id, google_event_id, calendar_id, source_type, source_id,"
            " event_type, event_title, event_start, event_end) values (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
            (
                WORKSPACE,
                made["id"],
                payload["calendarId"],
                payload["sourceType"],
                payload["sourceId"],
                payload["eventType"],
                event["title"],
                event["start"],
                event["end"],
            ),
        )
        done = "update sync_outbox set status = 'COMPLETED', processed_at = now() where id = %s"
        session.execute(done, (item_id,))
        self.done.append(item_id)


def done_by_the_reactor(world: World) -> set[UUID]:
    rows = world.execute(
        "select o.id from sync_outbox as o join sync_sources as s"
        " on s.workspace_id = o.workspace_id and s.source_key = sync_source_key(o.payload, o.id)"
        " where o.status = 'COMPLETED' and s.floor_seq >= o.seq"
    )
    return {item_id for (item_id,) in rows}


def settled(world: World, old: OldWorker, items: int) -> bool:
    return world.statuses() == {"COMPLETED": items} or old.error is not None


async def sweeps(process: Process) -> float:
    lines = (await process.get("/metrics")).text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("reactor_sweeps_total"))


async def test_no_item_is_done_twice(world: World) -> None:
    world.connect()
    process = await world.start(CALENDAR_SYNC_BATCH_SIZE="10", CALENDAR_SYNC_BATCH_PARTS="1").ready()
    world.google.emulator.settings.latency = 0.003
    items: set[UUID] = set()
    with OldWorker(world.database, world.google) as old:
        while len(old.done) < ENOUGH or len(done_by_the_reactor(world)) < ENOUGH:
            items |= {world.insert(len(items) + number) for number in range(40)}
            await until(partial(settled, world, old, len(items)))
            assert old.error is None, old.error
            assert len(items) < 4_000, (len(old.done), len(done_by_the_reactor(world)))
    by_old, by_reactor = set(old.done), done_by_the_reactor(world)
    assert len(by_old) == len(old.done)
    assert (by_old | by_reactor, by_old & by_reactor) == (items, set())
    assert set(world.titles().values()) == {1}
    assert len(world.titles()) == len(items)
    assert world.attempts() == 0

    # Then alone: events that the old worker made are known by their bindings, and changed instead of made again.
    again = [world.insert(number, f"edited {number}") for number in range(len(items))]
    await world.all_done(len(items) + len(again), 60)
    assert world.titles() == dict.fromkeys((f"edited {number}" for number in range(len(items))), 1)
    process.signal(signal.SIGTERM)
    assert await process.ended() == 0
    assert world.locks() == 0


async def test_what_the_old_worker_left_is_taken_over_after_ten_minutes(world: World) -> None:
    """Its pool of sessions may lose a lock while it works on; nobody works on one item for ten minutes."""
    world.connect()
    left = [world.insert(number) for number in (1, 2)]
    world.execute("alter table sync_outbox disable trigger user")
    for item_id, minutes in zip(left, (9, 11), strict=True):
        world.execute(
            "update sync_outbox set status = 'PROCESSING', updated_at = now() - %s * interval '1 min' where id = %s",
            minutes,
            item_id,
        )
    world.execute("alter table sync_outbox enable trigger user")
    process = await world.start().ready()
    await until(lambda: world.statuses() == {"COMPLETED": 1, "PROCESSING": 1})
    seen = await sweeps(process)
    with trio.fail_after(60):
        while await sweeps(process) < seen + 3:  # noqa: ASYNC110  (what happens elsewhere sets no event)
            await trio.sleep(0.05)
    assert world.execute("select id, attempts from sync_outbox where status = 'PROCESSING'") == [(left[0], 0)]
    assert world.titles() == {"event 2": 1}
