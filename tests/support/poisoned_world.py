"""A history's world with a workspace that does what it should not, next to one that has no part in it.

`GUILTY` writes odd rows (`tests.support.odd_rows`), rows that no statement may change, and floods; its transactions
stay open with locks on whatever is the reactor's or its own. `INNOCENT` must be settled while all of that is in
place. In the end both calendars are compared, but for the sources that an odd row was about.

Everybody calls a calendar by one name. Under two names (its address, and `primary`) a rebuild takes the events under
the one for strays under the other, and deletes them.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from calendar_emulator.store.calendars import Write
from reactor.settings import Settings
from tests.support import odd_rows
from tests.support.background import Background
from tests.support.databases import Database, wait_until
from tests.support.google_fixtures import USER
from tests.support.history_model import CALENDARS, SOURCES, WORKSPACES, Edit, Source
from tests.support.history_world import OPEN, Connection, HistoryWorld

INNOCENT, GUILTY = WORKSPACES

APPLICATION = """
create table if not exists workspaces (id uuid primary key);
insert into workspaces values ('{0}'), ('{1}') on conflict do nothing;
create table if not exists app_states (
  seq bigint primary key, workspace_id uuid, source_id uuid, calendar_id text, title text, shows boolean);
create or replace view calendar_source_events as
select n.workspace_id, n.calendar_id, 'task' as source_type, n.source_id,
       'GATE_REVIEW'::calendar_event_type as event_type, n.title,
       timestamptz '2026-12-01 09:00+00' as start_at, timestamptz '2026-12-01 10:00+00' as end_at, false as is_all_day
  from (select distinct on (workspace_id, source_id) * from app_states order by workspace_id, source_id, seq desc) as n
 where n.shows;
revoke all on calendar_source_events from public;
grant select on calendar_source_events to calendar_sync_reactor;
create or replace function app_refuses() returns trigger language plpgsql as $$
begin raise exception 'not this one' using errcode = old.payload ->> 'refused'; end $$;
alter table calendar_event_bindings drop constraint if exists of_workspace;
truncate sync_outbox, sync_sources, sync_set_aside, sync_brakes, calendar_event_bindings, app_states;
alter table calendar_event_bindings
  add constraint of_workspace foreign key (workspace_id) references workspaces (id);
alter table sync_outbox drop constraint if exists stuck;
alter table sync_outbox add constraint stuck check (not payload ? 'stuck' or status = 'PENDING') not valid;
create or replace trigger app_refuses before update on sync_outbox
   for each row when (old.payload ? 'refused') execute function app_refuses();
"""
HEALED = """
alter table sync_outbox drop constraint stuck;
drop trigger app_refuses on sync_outbox;
delete from sync_set_aside;
update sync_brakes set released_at = now() where released_at is null;
"""
LOCKS = {
    "a row": "select from sync_outbox where id = (select id from sync_outbox where workspace_id = %s and status in"
    " ('PENDING', 'FAILED', 'PROCESSING') order by seq desc limit 1) for update skip locked",
    "rows": "select from sync_outbox where workspace_id = %s and status in ('PENDING', 'FAILED', 'PROCESSING')"
    " for update skip locked",
    "sources": "select from sync_sources where workspace_id = %s for update skip locked",
    "bindings": "select from calendar_event_bindings where workspace_id = %s for update skip locked",
    "workspace": "select from workspaces where id = %s for update skip locked",
    "connection": "select from google_connections where workspace_id = %s for update skip locked",
}
REFUSALS = {"stuck": "", "refused": "23514", "refused by a trigger": "P0001", "refused as data": "22023"}
PROCESSING = "select id from sync_outbox where status = 'PROCESSING' and workspace_id = %s"
HELD = PROCESSING + " and (lease_no & 2147483647) in (select lease from sync_lease_holders())"
DOUBLED = """
select workspace_id, sync_source_key(payload, id) from sync_outbox
 where status = 'PROCESSING' and id <> all (%s) group by 1, 2 having count(*) > 1
"""
HURRY = """
update sync_outbox set next_attempt_at = now()
 where status in ('PENDING', 'FAILED') and next_attempt_at > now() and workspace_id = any (%s)
"""


@dataclass(frozen=True)
class _Refused(Edit):
    """An edit in a row that no statement may change, until all heals."""

    why: str = "stuck"

    def payload(self, source: Source, title: str) -> dict[str, Any]:
        more = {"stuck": True} if self.why == "stuck" else {"refused": REFUSALS[self.why]}
        return super().payload(source, title) | more


class PoisonedWorld(HistoryWorld):
    """One history's world.

    Args:
        database: Where it happens.
        background: Runs the replicas.
        strict: Whether quotas and attempts are as in production; else there is enough of both.

    Attributes:
        touched: Sources that an odd row was about, or whose content may have been given up: they are not compared.
        odd: Kinds of odd rows, and of what else was done, with how often.
    """

    def __init__(self, database: Database, background: Background, *, strict: bool) -> None:
        self.strict = strict
        self.touched: set[Source] = set()
        self.odd: Counter[str] = Counter()
        self._odd_ids: list[UUID] = []
        self._waits: list[UUID] = []
        self._locks: list[tuple[str, Connection]] = []
        self._floods = 0
        super().__init__(database, background)
        self.owner.execute(APPLICATION.format(*WORKSPACES).encode())

    def settings(self) -> Settings:
        settings = super().settings()
        if not self.strict:
            return settings
        own = {
            "calendar_sync_max_retries",
            "calendar_sync_requests_per_minute",
            "calendar_sync_lane_requests_per_minute",
        }
        return settings.model_copy(update={name: Settings.model_fields[name].default for name in own})

    # What the application does

    def insert(self, source: Source, edit: Edit, by: Connection) -> tuple[int, str]:
        seq, title = super().insert(source, edit, by)
        if not edit.kind.startswith("bad"):
            row = (seq, *source, edit.calendar, title, edit.kind == "upsert")
            by.execute("insert into app_states values (%s, %s, %s, %s, %s, %s)", row)
        elif self.strict:  # given up before it is found out, it takes what is older with it
            self.touched.add(source)
        return seq, title

    def connect(self, workspace_id: UUID) -> None:
        self.unlock("connection")
        super().connect(workspace_id)

    def poison(self, kind: str, source: Source | None) -> None:
        """Write an odd row, about something of its own or about one of the sources that are edited too."""
        self._floods += 1
        about = source[1] if source else UUID(int=1_000_000 + self._floods)
        item_id = odd_rows.insert(self.owner, kind, GUILTY, about, calendar_id=USER)
        if item_id is not None:
            self.odd[kind] += 1
            self._odd_ids.append(item_id)
            self._waits += [item_id] if odd_rows.KINDS[kind].waits else []
            self.touched |= {source} if source else set()

    def refuse(self, source: Source, why: str) -> None:
        """Write an edit that no statement may change, until all heals."""
        seq, title = self.insert(source, _Refused(why=why), self.owner)
        self.model.commit(source, seq, Edit(), title)
        self.odd[why] += 1

    def flood(self, count: int) -> None:
        """Write many edits in one transaction."""
        self._floods += 1
        self.write(*(((GUILTY, UUID(int=1_000 * self._floods + n)), Edit()) for n in range(count)))

    def rebuild(self, workspace: UUID) -> None:
        payload = {"operation": "REBUILD_ALL", "workspaceId": str(workspace), "calendarId": USER}
        insert = "insert into sync_outbox (workspace_id, operation, payload) values (%s, 'REBUILD_ALL', %s)"
        self.owner.execute(insert, (workspace, Jsonb(payload)))
        self.odd["rebuild"] += 1

    def lock(self, what: str) -> None:
        """Leave a transaction open that has locked something of the guilty workspace's."""
        connection = psycopg.connect(self.database.owner)
        locked = connection.execute(LOCKS[what].encode(), (GUILTY,)).rowcount
        self.odd[f"lock: {what}"] += locked > 0
        self._locks.append((what, connection))

    def unlock(self, what: str | None = None) -> None:
        """End the transactions that hold locks, all or those on one thing."""
        for each in [each for each in self._locks if what in (None, each[0])]:
            each[1].close()
            self._locks.remove(each)

    # What must hold at any time

    def check(self) -> None:
        assert self.owner.execute(DOUBLED, (self._odd_ids,)).fetchall() == []
        rows = self.owner.execute("select workspace_id, source_key, floor_seq from sync_sources").fetchall()
        floors = {(w, key): floor for w, key, floor in rows}
        assert all(floors[about] >= floor for about, floor in self._floors.items())
        self._floors = floors
        wait_until(self._locks_agree if self.replicas else lambda: self.held() == Counter())

    def _locks_agree(self) -> bool:
        processing = Counter(item_id for (item_id,) in self.owner.execute(PROCESSING, (INNOCENT,)).fetchall())
        return processing == self.held()

    def held(self) -> Counter[UUID]:
        return Counter(item_id for (item_id,) in self.owner.execute(HELD.encode(), (INNOCENT,)).fetchall())

    # The end

    def finish(self) -> None:
        """The innocent workspace is settled with everything bad in place; then everything heals."""
        self.background.call(self.emulator.faults.clear)
        for replica in list(self.replicas):
            self.kill(replica)
        self.connect(INNOCENT)
        self.start()
        wait_until(lambda: self._is_settled(INNOCENT), seconds=30)
        self.unlock()
        self.owner.execute(HEALED)
        # What a polling worker seems to have in hand for ever holds back its source and the rebuilds, until it is gone.
        self.owner.execute("delete from sync_outbox where id = any (%s) and status = 'PROCESSING'", (self._waits,))
        self.connect(GUILTY)
        wait_until(lambda: self._is_settled(*WORKSPACES), seconds=60)
        self.check()
        self.verdict()

    def _is_settled(self, *workspaces: UUID) -> bool:
        self.owner.execute("update sync_brakes set released_at = now() where released_at is null")
        self.owner.execute(HURRY, (list(workspaces),))
        if GUILTY in workspaces:
            self.requeue(but=["BAD_PAYLOAD", "BAD_REQUEST"])
        else:
            dead = "select failure_code from sync_outbox where status = 'DEAD_LETTER' and workspace_id = %s"
            codes = {code for (code,) in self.owner.execute(dead, workspaces)}
            assert codes <= {"BAD_PAYLOAD", "BAD_REQUEST", *(["EXHAUSTED"] if self.strict else [])}, codes
            self.requeue(but=["BAD_PAYLOAD", "BAD_REQUEST"])
        left = self.owner.execute(
            OPEN + " and workspace_id = any (%s) and id <> all (%s)", (list(workspaces), self._waits)
        )
        return left.fetchone() == (0,)

    def verdict(self) -> None:
        wanted = Counter({about: n for about, n in self.model.calendars().items() if about[1] not in self.touched})
        assert self.shown() == wanted
        bound = self.owner.execute(
            "select calendar_id, workspace_id, source_id, event_title from calendar_event_bindings"
        )
        ours = Counter((c, (w, s), title) for c, w, s, title in bound if self._is_compared((w, s)))
        assert ours == wanted
        self.check_order()
        self.judge.verdict()

    def _is_compared(self, source: Source) -> bool:
        return source in self.model.states and source not in self.touched

    def shown(self) -> Counter[tuple[str, Source, str]]:
        return Counter(
            (calendar, source, event["summary"])
            for calendar in CALENDARS
            for event in self.emulator.events(calendar)
            if (source := _source_of(event)) and self._is_compared(source)
        )

    def writes(self) -> Iterator[tuple[str, Write]]:
        for calendar, write in super().writes():
            source = _source_of(write.event)
            if source and self._is_compared(source):
                yield calendar, write

    def close(self) -> None:
        self.unlock()
        super().close()


def _source_of(event: dict[str, Any]) -> Source | None:
    """Whose event it is; None for what an odd row says."""
    private = event.get("extendedProperties", {}).get("private", {})
    try:
        return UUID(private["reactorWorkspace"]), UUID(private["reactorSource"].removeprefix("task:"))
    except (KeyError, ValueError):
        return None


GUILTY_SOURCES = [source for source in SOURCES if source[0] == GUILTY]
INNOCENT_SOURCES = [source for source in SOURCES if source[0] == INNOCENT]
