"""An application with a view of its current state, for rebuilds: it changes its rows and the outbox as one."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.types.json import Jsonb

from reactor.core.calendar import event, ids
from reactor.core.payload import source_key
from tests.support.databases import Database
from tests.support.google_fixtures import USER, GoogleServer
from tests.support.process_world import WORKSPACE, World
from tests.support.waiting import until

UNLIMITED = dict.fromkeys(("CALENDAR_SYNC_REQUESTS_PER_MINUTE", "CALENDAR_SYNC_LANE_REQUESTS_PER_MINUTE"), "0")
TEAM = "team@group.calendar.google.com"

APPLICATION = """
create table app_events (
  workspace_id uuid not null, calendar_id text not null, source_id uuid primary key, title text not null,
  starts timestamptz not null default '2026-12-01 09:00+00', hours integer not null default 1,
  all_day boolean not null default false, recurrence text[]
);
"""
VIEW = """
create view calendar_source_events as
select workspace_id, calendar_id, 'task' as source_type, source_id, 'MILESTONE'::calendar_event_type as event_type,
       title, null::text as description, 'Here' as location,
       starts as start_at, starts + hours * interval '1 h' as end_at, all_day as is_all_day,
       recurrence, '5' as color_id, 'Europe/Berlin' as time_zone
  from app_events;
revoke all on calendar_source_events from public;
grant select on calendar_source_events to calendar_sync_reactor;
"""
Connection = psycopg.Connection[tuple[Any, ...]]


def source(number: int) -> str:
    return str(UUID(int=number))


def key(number: int) -> str:
    return source_key("task", source(number))


class RebuildWorld(World):
    """The application, its calendars, and the reactor."""

    def __init__(self, database: Database, google: GoogleServer, directory: Path) -> None:
        super().__init__(database, google, directory)
        google.emulator.share(TEAM, USER, "owner")
        self.execute(APPLICATION)

    def define_view(self) -> None:
        self.execute(VIEW)

    def write(
        self,
        number: int,
        title: str | None,
        *,
        by: Connection | None = None,
        workspace: UUID = WORKSPACE,
        calendar: str = USER,
        enqueue: bool = True,
    ) -> None:
        """Make an event be there, or with None not be there: the row first, the outbox second."""
        run = by.execute if by else self._owner.execute
        run("delete from app_events where source_id = %s", (source(number),))
        payload: dict[str, Any] = {
            "operation": "CANCEL_EVENT" if title is None else "UPSERT_EVENT",
            "workspaceId": str(workspace),
            "calendarId": calendar,
            "sourceType": "task",
            "sourceId": source(number),
        }
        if title is not None:
            run("insert into app_events values (%s, %s, %s, %s)", (workspace, calendar, source(number), title))
            times = {"start": "2026-12-01T09:00:00Z", "end": "2026-12-01T10:00:00Z"}
            payload |= {"eventType": "MILESTONE", "event": {"title": title, **times}}
        if enqueue:
            run(
                "insert into sync_outbox (workspace_id, operation, payload) values (%s, %s, %s)",
                (workspace, payload["operation"], Jsonb(payload)),
            )

    @contextmanager
    def writer(self) -> Iterator[Connection]:
        """A transaction that stays open for the length of the block."""
        with psycopg.connect(self.database.owner) as writer:
            yield writer

    def rebuild(self, workspace: UUID = WORKSPACE, calendar: str = USER, *, attempts: int = 5, **more: Any) -> UUID:
        item_id = uuid4()
        payload = {"operation": "REBUILD_ALL", "workspaceId": str(workspace), "calendarId": calendar, **more}
        self.execute(
            "insert into sync_outbox (id, workspace_id, operation, payload, max_attempts)"
            " values (%s, %s, 'REBUILD_ALL', %s, %s)",
            item_id,
            workspace,
            Jsonb(payload),
            attempts,
        )
        return item_id

    def plant(self, number: int, title: str, *, generation: int = 0, calendar: str = USER, **more: Any) -> str:
        """Put an event of ours into a calendar behind everybody's back; return its id."""
        event_id = ids.event_id(str(WORKSPACE), key(number), generation)
        properties = event.properties(workspace_id=str(WORKSPACE), source_key=key(number), seq=7, generation=generation)
        return self.put(title, calendar=calendar, id=event_id, private=dict(properties), **more)

    def put(self, title: str, *, calendar: str = USER, private: dict[str, str] | None = None, **more: Any) -> str:
        """Put any event into a calendar; return its id."""
        times = {"start": {"dateTime": "2026-12-01T09:00:00Z"}, "end": {"dateTime": "2026-12-01T10:00:00Z"}}
        body = {"summary": title, **times, **({"extendedProperties": {"private": private}} if private else {}), **more}
        emulator = self.google.emulator
        made = emulator.calendar(calendar).insert(body, who=USER, new_id="plain1", now=emulator.clock())
        return str(made["id"])

    def wanted(self, calendar: str = USER) -> Counter[str]:
        """What the application says that a calendar shows."""
        return Counter(t for (t,) in self.execute("select title from app_events where calendar_id = %s", calendar))

    def shown(self, calendar: str = USER) -> Counter[str]:
        return Counter(entry["summary"] for entry in self.google.emulator.events(calendar))

    def status(self, item_id: UUID) -> tuple[Any, ...]:
        [row] = self.execute(
            "select status, attempts, failure_code, last_error from sync_outbox where id = %s", item_id
        )
        return row

    def open(self) -> int:
        [[count]] = self.execute("select count(*) from sync_outbox where status in ('PENDING', 'FAILED', 'PROCESSING')")
        return int(count)

    def hurry(self) -> int:
        """Cut long pauses short; return how many items are open."""
        self.execute(
            "update sync_outbox set next_attempt_at = now()"
            " where status in ('PENDING', 'FAILED') and next_attempt_at > now() + interval '5 s'"
        )
        return self.open()

    async def quiet(self, seconds: float = 60) -> None:
        """Wait until nothing is left to do."""
        await until(lambda: self.open() == 0, seconds)


@pytest.fixture
def world(database: Database, google: GoogleServer, tmp_path: Path) -> Iterator[RebuildWorld]:
    world = RebuildWorld(database, google, tmp_path)
    yield world
    world.close()
