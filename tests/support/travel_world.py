"""A history's world in which time goes back: backups, other accounts, calendars that come and go, and people's hands.

The application has a table of what it wants, in the same database as the outbox, so a restored backup takes both back.
What it wants in the end is read from that table; nothing here remembers more than people do: what they have done in the
calendars. `tests.support.travel_verdict` compares.
"""

import math
import select
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from calendar_emulator import Fault
from calendar_emulator.store.calendars import Calendar
from reactor.core.calendar.ids import event_id
from reactor.token_encryption import TokenCipher
from tests.core.test_other_hands import HANDS
from tests.support.background import Background
from tests.support.databases import Database, wait_until
from tests.support.history_model import SOURCES, TEAM, WORKSPACES, Source, source_of
from tests.support.history_world import DOUBLED, OPEN, HistoryWorld
from tests.support.process_world import KEYS
from tests.support.travel_backups import Backups, locked_out
from tests.support.travel_deeds import UNDER_WAY, Deeds
from tests.support.travel_history import (
    ACCOUNTS,
    ADA,
    BOB,
    OF_OURS,
    Backup,
    Connect,
    Event,
    Fall,
    Hand,
    History,
    Rebuild,
    Recreate,
    Replicas,
    Requeue,
    Rest,
    Restore,
    Revoke,
    Share,
    Want,
    Write,
)

APPLICATION = """
create table if not exists app_events (
  workspace_id uuid, source_id uuid, calendar_id text not null, title text not null, day integer not null,
  shows boolean not null, colour text, description text, reminder integer, primary key (workspace_id, source_id));
drop view if exists calendar_source_events;
truncate sync_outbox, sync_sources, sync_set_aside, sync_brakes, sync_departures, sync_order_gaps,
  calendar_event_bindings, app_events;
drop schema if exists backups cascade;
create schema backups;
"""
VIEW = """
create view calendar_source_events as
select workspace_id, calendar_id, 'task' as source_type, source_id, 'GATE_REVIEW'::calendar_event_type as event_type,
       title, timestamptz '2026-12-01 09:00+00' + (day - 1) * interval '1 day' as start_at,
       timestamptz '2026-12-01 10:00+00' + (day - 1) * interval '1 day' as end_at, false as is_all_day,
       colour as color_id, description
  from app_events where shows;
revoke all on calendar_source_events from public;
grant select on calendar_source_events to calendar_sync_reactor;
"""
WANTED = """
insert into app_events values (%s, %s, %s, %s, %s, %s, %s, %s, %s)
on conflict (workspace_id, source_id) do update
   set (calendar_id, title, day, shows, colour, description, reminder) = (
     excluded.calendar_id, excluded.title, excluded.day, excluded.shows, excluded.colour, excluded.description,
     excluded.reminder)
"""
CONNECT = """
insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id) values (%s, %s, %s)
on conflict (workspace_id) do update
   set (refresh_token_encrypted, calendar_id, is_valid) = (excluded.refresh_token_encrypted, excluded.calendar_id, true)
"""
FALLS: dict[str, LiteralString] = {
    "set back": "select setval('sync_outbox_seq', greatest(1, (last_value * 0.5)::bigint)) from sync_outbox_seq",
    "restarted": "alter sequence sync_outbox_seq restart",
    "outbox emptied": "truncate sync_outbox restart identity",
    "memory emptied": "truncate sync_outbox, sync_sources, calendar_event_bindings restart identity",
}
DUE = """
select count(*) from sync_outbox as o join google_connections as c using (workspace_id)
 where c.is_valid and (o.status = 'PROCESSING' or o.status in ('PENDING', 'FAILED') and o.next_attempt_at <= now())
"""
HURRY = """
update sync_outbox set next_attempt_at = now() where status in ('PENDING', 'FAILED') and next_attempt_at > now();
update sync_brakes set released_at = now() where released_at is null;
"""
PUT_BACK = """
update sync_outbox set status = 'PENDING', attempts = 0, next_attempt_at = now()
 where status = 'DEAD_LETTER' and failure_code <> 'EVENT_GONE' and (%s or operation <> 'REBUILD_ALL')
"""


def owner_of(event: dict[str, Any]) -> Source | None:
    """Whose event it is: by its marks, or where another program took them away by its id."""
    return source_of(event) if is_marked(event) else _OURS.get(event["id"])


def is_marked(event: dict[str, Any]) -> bool:
    """Whether it says that it is ours."""
    return "reactorSource" in event.get("extendedProperties", {}).get("private", {})


_OURS = {event_id(str(w), f"task:{s}", n): (w, s) for w, s in SOURCES for n in range(9)}


class TravelWorld(HistoryWorld):
    """One history's world.

    Attributes:
        wants: Every state that the application ever wanted, by its title.
        deeds: What was done to it, and when.
        seen: What happened, for the test that asks whether enough does.
        replaced: Calendars that are not there any more, with what they held.
    """

    def __init__(self, database: Database, background: Background, history: History) -> None:
        self.history = history
        self.deeds = Deeds()
        self.account: dict[UUID, str] = {}
        super().__init__(database, background)
        background.call(partial(self.emulator.add_user, BOB))
        background.call(self.emulator.share, TEAM, BOB, "owner")
        self.owner.execute(APPLICATION)
        if history.has_view:
            self.owner.execute(VIEW)
        self.wants: dict[str, tuple[Source, Want]] = {}
        self.seen: Counter[str] = Counter()
        self.replaced: list[Calendar] = []
        self._backups = Backups(database.owner)

    # The application

    def connect(self, workspace_id: UUID, account: str | None = None) -> None:
        before = self.account.get(workspace_id, ADA)
        account = account or before
        if account != before:
            self.deeds.leave(workspace_id, account=True)
        self.account[workspace_id] = account
        self.consents[workspace_id] = self.background.call(self.emulator.oauth.grant, account)
        stored = TokenCipher.from_setting(KEYS).encrypt(workspace_id, self.consents[workspace_id])
        self.owner.execute(CONNECT, (workspace_id, stored, account))

    def want(self, edits: list[tuple[Source, Want]], *, enqueue: bool = True) -> None:
        """One transaction: what is wanted, and rows of the outbox."""
        with psycopg.connect(self.database.owner) as writer:
            for source, want in edits:
                self._titles += 1
                title = f"state {self._titles}"
                self.wants[title] = source, want
                self.deeds.edit(source, enqueued=enqueue)
                row = (want.calendar, title, want.day, want.shows, want.colour, want.description, want.reminder)
                writer.execute(WANTED, (*source, *row))
                if enqueue:
                    payload = want.payload(source, title)
                    writer.execute(
                        "insert into sync_outbox (workspace_id, operation, payload, max_attempts)"
                        " values (%s, %s, %s, 100)",
                        (source[0], payload["operation"], Jsonb(payload)),
                    )

    def wanted(self) -> dict[Source, tuple[str, Want]]:
        """What the application wants now: title and state of each source that it knows."""
        rows = self.owner.execute("select workspace_id, source_id, title from app_events")
        return {(workspace, source): (title, self.wants[title][1]) for workspace, source, title in rows}

    def rebuild(self, workspace: UUID, calendar: str, *, recreate: bool = False) -> None:
        payload = {"operation": "REBUILD_ALL", "workspaceId": str(workspace), "calendarId": calendar}
        if not self.history.has_view:  # then it moves everything to its calendar
            self.deeds.rebuilt.add(workspace)
        self.owner.execute(
            "insert into sync_outbox (workspace_id, operation, payload) values (%s, 'REBUILD_ALL', %s)",
            (workspace, Jsonb(payload | ({"recreate": True} if recreate else {}))),
        )

    # What befalls it

    def befall(self, event: Event) -> None:
        """Do what an event says, or nothing where it has no subject."""
        self.seen[type(event).__name__] += 1
        match event:
            case Write(edits, enqueue):
                self.want([(SOURCES[n], want) for n, want in edits], enqueue=enqueue)
            case Rebuild(workspace, calendar, recreate):
                self.rebuild(WORKSPACES[workspace], calendar, recreate=recreate)
            case Requeue():
                self.requeue()
            case Replicas(what):
                self._replicas(what)
            case Rest(seconds):
                self.rest(seconds)
            case Fault():
                self.fault(event)
            case Backup() | Restore() | Fall():
                self._travel(event)
            case _:
                self._people(event)

    def _travel(self, event: Backup | Restore | Fall) -> None:
        match event:
            case Backup(how):
                self._with(how, lambda: self._backups.take(how, self.account))
            case Restore():
                self._restore(event)
            case Fall(how):
                locked_out(lambda: self.owner.execute(FALLS[how]))
                if how == "memory emptied":
                    self.deeds.forget(-math.inf, running=True)
                elif how == "outbox emptied":  # with what waited
                    self.deeds.disturb(SOURCES)

    def _people(self, event: Connect | Revoke | Share | Recreate | Hand) -> None:
        match event:
            case Connect(workspace, account):
                self.connect(WORKSPACES[workspace], account)
            case Revoke(workspace):
                self.revoke(WORKSPACES[workspace])
            case Share(calendar, account, role):
                self.share(calendar, account, role)
            case Recreate(calendar):
                self._recreate(calendar)
            case Hand(number, what):
                self.background.call(self._lay_hands_on, number, what)

    def share(self, calendar: str, account: str, role: str | None) -> None:
        if role != "owner":
            for workspace in WORKSPACES:
                self.deeds.leave(workspace, account=False)
        self.background.call(self.emulator.share, calendar, account, role)

    def _recreate(self, calendar: str) -> None:
        def make_anew() -> None:
            old = self.emulator.calendar(calendar)
            self.replaced.append(old)
            self.emulator.remove_calendar(calendar)
            self.emulator.add_calendar(calendar).roles.update(old.roles)

        self.deeds.emptied.add(calendar)
        self.background.call(make_anew)
        self.deeds.disturb(SOURCES)

    def _lay_hands_on(self, number: int, what: str) -> None:
        there = [(calendar, event) for calendar in (*ACCOUNTS, TEAM) for event in self.emulator.events(calendar)]
        if not there:
            return
        calendar_id, event = there[number % len(there)]
        calendar, now = self.emulator.calendar(calendar_id), self.emulator.clock()
        record, deeds = calendar.get(event["id"]), self.deeds
        if what == "copy":
            kept: dict[str, Any] = {
                name: event[name] for name in ("summary", "start", "end", "extendedProperties") if name in event
            }
            record = calendar.get(calendar.insert(kept, who=ADA, new_id=f"copied{len(deeds.copies)}", now=now)["id"])
            deeds.copies.add(record.event["id"])
        elif what == "move":
            target = self.emulator.calendar(TEAM if calendar_id != TEAM else ADA)
            if event["id"] in target.records:
                return  # as Google says
            target.insert(event | {"iCalUID": None}, who=ADA, new_id="", now=now)
            deeds.hands[target.get(event["id"]).writes[-1].order] = {}
            deeds.moved.add(event["id"])
            calendar.remove(record, now)
        elif what == "delete":
            self.emulator.delete_by_hand(calendar_id, event["id"])
        else:
            self.emulator.edit_by_hand(calendar_id, event["id"], HANDS.get(what) or OF_OURS[what])
        deeds.hands[record.writes[-1].order] = HANDS.get(what, {})
        self.seen[f"hand: {what}"] += 1
        if (source := owner_of(event)) and what != "copy":
            deeds.disturb([source])

    def _replicas(self, what: str) -> None:
        match what.split():
            case ["start"] if len(self.replicas) < 2:
                self.start()
            case ["stop"] if self.replicas:
                self.stop(self.replicas[0])
            case ["kill"] if self.replicas:
                self.kill(self.replicas[0])
            case ["lose", session]:
                self.lose_sessions(session)

    def rest(self, seconds: float) -> None:
        """Wait until nothing is due, if there is anybody to do it, and for so long at most."""
        until = time.monotonic() + (seconds if self.replicas else 0.01)
        while time.monotonic() < until and self.owner.execute(DUE).fetchone() != (0,):
            select.select([], [], [], 0.01)

    # Backups

    def _restore(self, event: Restore) -> None:
        taken = self._backups.find(event.number)
        if taken is None:
            return
        self.seen[f"restored {taken.how}"] += 1
        changed = [each for each in WORKSPACES if self.account[each] != taken.accounts[each]]
        self.account = dict(taken.accounts)
        running = event.running and taken.how == "tables"
        restore = partial(self._backups.restore, taken, event.sequence, quiet=event.quiet)
        self._with("tables" if running else "template", restore)
        self.deeds.forget(taken.at - UNDER_WAY * (taken.how == "tables"), running=running)
        for workspace in changed:
            self.deeds.leave(workspace, account=True)

    def _with(self, how: str, change: Callable[[], None]) -> None:
        """Do something to the database; `template`: while nobody is in it."""
        running = len(self.replicas)
        if how == "template":
            self._kill_all()
            self.owner.close()
        change()
        if how == "template":
            self.owner = psycopg.connect(self.database.owner, autocommit=True)
            for _ in range(running):
                self.start()

    def _kill_all(self) -> None:
        for replica in list(self.replicas):
            self.kill(replica)

    # What must hold at any time, and the end

    def check(self) -> None:
        """No source is in hand twice, and locks are held for what is in hand and nothing else."""
        assert self.owner.execute(DOUBLED).fetchall() == []
        if self.replicas:
            wait_until(self._locks_agree)
        else:
            wait_until(lambda: self.held() == Counter())

    def finish(self) -> None:
        """Everything heals, the application writes once more, and everything settles."""
        self.background.call(self.emulator.faults.clear)
        self._kill_all()
        for account in ACCOUNTS:
            self.share(TEAM, account, "owner")
        self.share(ADA, BOB, "writer" if self.history.ada_shares else None)
        for workspace in WORKSPACES:
            self.connect(workspace)
        self.start()
        self._settle()
        if "edits" in self.history.ending:
            needs = [each for each in self.wanted() if self.deeds.needs_edit(each) or each in self.history.edited]
            self.want([(each, self.wanted()[each][1]) for each in needs])
            self._settle(rebuilds=self.history.has_view)
        if "rebuild" in self.history.ending:
            for calendar in ("primary", TEAM, *([ADA] if self.history.ada_shares else [])):
                for workspace in WORKSPACES:
                    self.rebuild(workspace, calendar)
                self._settle()
        self.check()
        self._kill_all()

    def _settle(self, *, rebuilds: bool = True) -> None:
        """Wait until nothing is open; then what died is put back, as an operator does who has mended something."""
        for _ in range(2):
            wait_until(self._is_settled, seconds=40)
            self.owner.execute(PUT_BACK, (rebuilds,))
        wait_until(self._is_settled, seconds=40)

    def _is_settled(self) -> bool:
        self.owner.execute(HURRY)
        return self.owner.execute(OPEN).fetchone() == (0,)

    def calendars(self) -> list[Calendar]:
        """All calendars that there are, or were."""
        return [*self.replaced, *(self.emulator.calendar(each) for each in (*ACCOUNTS, TEAM))]

    def close(self) -> None:
        super().close()
        self._backups.drop()
