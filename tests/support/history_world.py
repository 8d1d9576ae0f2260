"""A world for whole histories: an application, replicas of the reactor, a Google with faults, and a model of the end.

The reactor is whole and real: its service, PostgreSQL, HTTP. The application writes from the test's own thread.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator
from dataclasses import replace
from functools import partial
from typing import Any
from uuid import UUID

import psycopg
import trio
from psycopg.types.json import Jsonb

from calendar_emulator import Emulator, Fault, Service, application, serve
from calendar_emulator.store.calendars import Write, WriteKind
from reactor.settings import Settings
from reactor.token_encryption import TokenCipher
from tests.support.background import Background
from tests.support.databases import Database, wait_until
from tests.support.discovery import Judge
from tests.support.google_fixtures import USER, GoogleServer
from tests.support.history_model import CALENDARS, TEAM, WORKSPACES, Edit, Model, Source, source_of
from tests.support.holding import Holding
from tests.support.process_world import KEYS
from tests.support.replica import Replica

Connection = psycopg.Connection[tuple[Any, ...]]


PROCESSING = "select id from sync_outbox where status = 'PROCESSING'"
HELD = """
select o.id from sync_outbox as o
 where o.status = 'PROCESSING' and (o.lease_no & 2147483647) in (select lease from sync_lease_holders())
"""
DOUBLED = """
select workspace_id, sync_source_key(payload, id) from sync_outbox
 where status = 'PROCESSING' group by 1, 2 having count(*) > 1
"""
OPEN = "select count(*) from sync_outbox where status in ('PENDING', 'FAILED', 'PROCESSING')"
TERMINATE = """
select pg_terminate_backend(pid, 5000) from pg_stat_activity
 where datname = current_database() and application_name like %s
"""


class Writer:
    """A transaction of the application that is still open."""

    def __init__(self, world: "HistoryWorld") -> None:
        self._world = world
        self.connection: Connection = psycopg.connect(world.database.owner)
        self._wrote: list[tuple[Source, int, Edit, str]] = []

    def write(self, source: Source, edit: Edit) -> None:
        seq, title = self._world.insert(source, edit, self.connection)
        self._wrote.append((source, seq, edit, title))

    def end(self, *, commit: bool) -> None:
        (self.connection.commit if commit else self.connection.rollback)()
        self.connection.close()
        for wrote in self._wrote if commit else ():
            self._world.model.commit(*wrote)


class HistoryWorld:
    """One history's world; the database is emptied for it."""

    def __init__(self, database: Database, background: Background) -> None:
        self.database = database
        self.background = background
        self.model = Model()
        self.replicas: list[Replica] = []
        self.emulator = Emulator(rng=random.Random(1))
        self.judge = Judge()
        self.emulator.log.observers.append(self.judge)
        self.emulator.add_user(USER, calendars=[TEAM])
        self.wire = Holding(application(Service(self.emulator)))
        url = background.start(partial(serve, self.wire))
        self.google = GoogleServer(self.emulator, url, self.emulator.oauth.grant(USER))
        self.owner: Connection = psycopg.connect(database.owner, autocommit=True)
        self.owner.execute("truncate sync_outbox, sync_sources, calendar_event_bindings, google_connections")
        self.consents: dict[UUID, str] = {}
        self.revoked = self.asked_too_much = False
        for workspace_id in WORKSPACES:
            self.connect(workspace_id)
        self._floors: dict[tuple[Any, ...], int] = {}
        self._titles = 0

    def settings(self) -> Settings:
        return Settings.from_environment(
            database_url=self.database.reactor,
            google_client_id=self.google.client_id,
            google_client_secret=self.google.client_secret,
            token_encryption_keys=KEYS,
            google_api_root=self.google.api_root,
            google_token_uri=self.google.token_uri,
            calendar_sync_max_retries=100,
            calendar_sync_drain_timeout_ms=300,
            calendar_sync_requests_per_minute=0,
            calendar_sync_lane_requests_per_minute=0,
            health_bind="127.0.0.1:0",
        )

    # The application

    def insert(self, source: Source, edit: Edit, by: Connection) -> tuple[int, str]:
        """Insert a row; return its seq and its event's title."""
        edit = self._fitting(edit)
        self._titles += 1
        title = f"{edit.kind} {self._titles}"
        payload = edit.payload(source, title)
        # Content that cannot be shown must be found out, and not be given up before.
        attempts = 100 if edit.kind.startswith("bad") else 3
        row = by.execute(
            "insert into sync_outbox (workspace_id, operation, payload, max_attempts) values (%s, %s, %s, %s)"
            " returning seq",
            (source[0], payload["operation"], Jsonb(payload), attempts),
        ).fetchone()
        assert row
        return row[0], title

    def _fitting(self, edit: Edit) -> Edit:
        """Once a consent was revoked, what is bad for Google may end for that reason, and settle what is older."""
        if edit.kind == "bad for Google":
            edit = replace(edit, kind="bad for us") if self.revoked else edit
            self.asked_too_much |= not self.revoked
        return edit

    def connect(self, workspace_id: UUID) -> None:
        """A person connects a workspace to Google, or connects it again."""
        self.consents[workspace_id] = self.background.call(self.emulator.oauth.grant, USER)
        stored = TokenCipher.from_setting(KEYS).encrypt(workspace_id, self.consents[workspace_id])
        self.owner.execute(
            "insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id)"
            " values (%s, %s, %s) on conflict (workspace_id) do update"
            " set refresh_token_encrypted = excluded.refresh_token_encrypted, is_valid = true",
            (workspace_id, stored, USER),
        )

    def write(self, *edits: tuple[Source, Edit]) -> None:
        """One transaction."""
        writer = Writer(self)
        for source, edit in edits:
            writer.write(source, edit)
        writer.end(commit=True)

    def requeue(self, but: Collection[str] = ()) -> None:
        """What an operator does to dead letters."""
        self.owner.execute(
            "update sync_outbox set status = 'PENDING', attempts = 0, next_attempt_at = now()"
            " where status = 'DEAD_LETTER' and failure_code <> all (%s)",
            (list(but),),
        )

    # The operator, and fate

    def start(self) -> None:
        replica = Replica(self.settings())
        self.background.start(replica.run)
        self.replicas.append(replica)

    def stop(self, replica: Replica) -> None:
        self.replicas.remove(replica)
        self.background.run(replica.stop)
        assert replica.service.state.stats.crashes == 0

    def kill(self, replica: Replica) -> None:
        self.replicas.remove(replica)
        self.background.run(replica.kill)
        assert replica.service.state.stats.crashes == 0

    def revoke(self, workspace_id: UUID) -> None:
        """A person takes the consent away at Google."""
        self.revoked = True
        self.background.call(self.emulator.oauth.revoke, self.consents[workspace_id])

    def lose_sessions(self, kind: str) -> None:
        self.owner.execute(TERMINATE, (f"calendar-sync-reactor {kind}",))

    def fault(self, fault: Fault) -> None:
        self.background.call(self.emulator.fault, fault)

    def pause(self, seconds: float) -> None:
        self.background.run(trio.sleep, seconds)

    # What must hold at any time

    def check(self) -> None:
        """Floors never fall, no source is in hand twice, and locks are held for what is in hand and nothing else."""
        doubled = self.owner.execute(DOUBLED).fetchall()
        assert doubled == []
        rows = self.owner.execute("select workspace_id, source_key, floor_seq from sync_sources").fetchall()
        floors = {(w, key): floor for w, key, floor in rows}
        assert all(floors[about] >= floor for about, floor in self._floors.items())
        self._floors = floors
        if self.replicas:  # otherwise nobody is there to take over what a lost one had in hand
            wait_until(self._locks_agree)
        else:
            wait_until(lambda: self.held() == Counter())

    def _locks_agree(self) -> bool:
        """Locks are younger than the snapshot of the rows, so a claim or a settle in between shows for a moment."""
        processing = Counter(item_id for (item_id,) in self.owner.execute(PROCESSING).fetchall())
        return processing == self.held()

    def held(self) -> Counter[UUID]:
        """The items in the hands of a session that lives."""
        return Counter(item_id for (item_id,) in self.owner.execute(HELD).fetchall())

    # The end

    def finish(self) -> None:
        """Everything heals: nothing may be left."""
        self.background.call(self.emulator.faults.clear)
        for replica in list(self.replicas):
            self.kill(replica)
        for workspace_id in WORKSPACES:
            self.connect(workspace_id)
        self.requeue()
        self.start()  # it has nothing to hold against Google
        wait_until(self._is_over, seconds=30)
        self.check()
        self.verdict()

    def _is_over(self) -> bool:
        """Whether nothing is open; back-off is not waited for, and who died with its worker's last attempt may live."""
        self.owner.execute(
            "update sync_outbox set next_attempt_at = now()"
            " where status in ('PENDING', 'FAILED') and next_attempt_at > now()"
        )
        self.requeue(but=["BAD_PAYLOAD", "BAD_REQUEST"])
        return self.owner.execute(OPEN).fetchone() == (0,)

    def verdict(self) -> None:
        assert self.shown() == self.model.calendars()
        bound = self.owner.execute(
            "select calendar_id, workspace_id, source_id, event_title from calendar_event_bindings"
        )
        assert Counter((c, (w, s), title) for c, w, s, title in bound) == self.model.calendars()
        codes: dict[str, int] = dict(
            self.owner.execute("select failure_code, count(*) from sync_outbox where status = 'DEAD_LETTER' group by 1")
        )
        assert codes.keys() <= {"BAD_PAYLOAD", "BAD_REQUEST"}
        assert self.held() == Counter()
        self.check_order()
        self.judge.verdict()

    def shown(self) -> Counter[tuple[str, Source, str]]:
        """What a person sees."""
        return Counter(
            (calendar, source_of(event), event["summary"])
            for calendar in CALENDARS
            for event in self.emulator.events(calendar)
        )

    def check_order(self) -> None:
        """At no moment has a calendar held a source's event twice, and no older state was written after a newer one."""
        alive: dict[tuple[str, Source], set[str]] = defaultdict(set)
        newest: dict[Source, int] = {}
        for calendar, write in self.writes():
            source, event_id = source_of(write.event), write.event["id"]
            if write.kind is WriteKind.DELETE:
                alive[calendar, source].discard(event_id)
                continue
            alive[calendar, source].add(event_id)
            assert len(alive[calendar, source]) == 1, "twice in a calendar"
            seq = int(write.event["extendedProperties"]["private"]["reactorSeq"])
            assert seq >= newest.get(source, 0), "an older state after a newer one"
            newest[source] = seq

    def writes(self) -> Iterator[tuple[str, Write]]:
        """Every change of the calendars, in order."""
        found = [
            (calendar, write)
            for calendar in CALENDARS
            for record in self.emulator.calendar(calendar).ordered
            for write in record.writes
        ]
        yield from sorted(found, key=lambda each: each[1].order)

    def tally(self) -> Counter[str]:
        """What happened in this history: kinds of writes, codes of ends, effects of faults, batches."""
        codes = self.owner.execute("select failure_code from sync_outbox where failure_code is not null")
        seen = Counter([*(write.kind.value for _, write in self.writes()), *(code for (code,) in codes)])
        entries = self.emulator.log.entries
        return (
            seen
            + Counter(entry.effect for entry in entries if entry.effect)
            + Counter(batch=self.emulator.log.count("batch"))
        )

    def close(self) -> None:
        for replica in list(self.replicas):
            self.kill(replica)
        self.owner.close()
