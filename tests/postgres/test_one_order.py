"""One order for everything: edits, dead letters that are put back, rebuilds and their children, in the database alone.

Whatever the order of events, the calendar shows in the end what the application wants: with a view what the view says,
without one the newest edit that can be shown.
"""

import json
import random
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

from reactor.core.brake import Limit
from reactor.core.item import AppliedReference, Item, Settlement, SourceState
from reactor.core.outcome import FailureCode
from reactor.core.payload import Rebuild, parse
from reactor.errors import RefusedError
from reactor.postgres.connection.errors import as_ours
from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from reactor.postgres.rebuilds import Expansion
from tests.support.databases import Database
from tests.support.outbox_world import World, source, workspace

APPLICATION = "create table app (source_id uuid primary key, title text not null)"
VIEW = """
create view calendar_source_events as
select {workspace}::uuid as workspace_id, 'primary' as calendar_id, 'task' as source_type, source_id, title from app;
grant select on calendar_source_events to calendar_sync_reactor;
"""
REQUEUE = (
    "update sync_outbox set status = 'PENDING', attempts = 0, next_attempt_at = now() where status = 'DEAD_LETTER'"
)
SOURCES = ("a", "b")
GIVEN_UP = (FailureCode.EXHAUSTED, FailureCode.AUTH, FailureCode.CALENDAR_GONE)
Connection = psycopg.Connection[Any]


class Calendar:
    """An application, a calendar, and one replica between them, step by step.

    Attributes:
        shown: What the calendar shows, by source.
    """

    def __init__(self, database: Database, outbox: Outbox, *, has_view: bool) -> None:
        self.world = World(database)
        self.world.connect()
        self.world.connection.execute(APPLICATION)
        if has_view:
            self.world.connection.execute(VIEW.replace("{workspace}", f"'{workspace()}'").encode())
        self.has_view = has_view
        self.outbox = outbox
        self.expanding: Connection = psycopg.connect(database.reactor, autocommit=True)
        self.shown: dict[str, str] = {}
        self.titles = 0

    def close(self) -> None:
        self.expanding.close()
        self.world.close()

    def edit(
        self, about: str, *, kind: str = "upsert", enqueue: bool = True, by: Connection | None = None
    ) -> UUID | None:
        """Change a thing; without `enqueue` only its row, and not the outbox."""
        run = (by or self.world.connection).execute
        self.titles += 1
        title = f"{kind} {self.titles}"
        run("delete from app where source_id = %s", (source(about),))
        if kind != "cancel":
            run("insert into app values (%s, %s)", (source(about), title))
        if not enqueue:
            return None
        operation = "CANCEL_EVENT" if kind == "cancel" else "UPSERT_EVENT"
        payload = {} if kind == "cancel" else {"event": {"title": title}}
        return self.world.insert(about, operation=operation, payload=payload, by=by)

    def rebuild(self) -> None:
        self.world.insert(operation="REBUILD_ALL")

    async def claim(self, slots: int = 5) -> list[Item]:
        return (await self.outbox.claim(slots=slots)).items

    async def end(self, item: Item, code: FailureCode | None = None) -> None:
        """Apply an item, or give it up."""
        payload = json.loads(item.payload)
        memory = SourceState(0, 0, "event", "primary", '"1"')
        end = Settlement(
            item, "COMPLETED", item.attempts, moves_floor=True, memory=memory, applied=AppliedReference.ROW
        )
        if item.operation == "REBUILD_ALL":
            self.expand(item)
            end = Settlement(item, "COMPLETED", item.attempts, moves_floor=True)
        elif payload.get("event", {}).get("title", "").startswith("bad"):
            code = FailureCode.BAD_REQUEST
            end = Settlement(item, "DEAD_LETTER", item.attempts, failure_code=code)
        elif code is not None:
            end = Settlement(item, "DEAD_LETTER", 5, failure_code=code, moves_floor=not item.is_child)
        elif item.operation == "CANCEL_EVENT":
            self.shown.pop(item.source_key, None)
            end = Settlement(item, "COMPLETED", item.attempts, moves_floor=True, memory=SourceState(cancelled=True))
        else:
            self.shown[item.source_key] = payload["event"]["title"]
        await self.outbox.settle([end])

    def expand(self, item: Item) -> None:
        payload = parse(item.operation, item.workspace_id, item.payload)
        assert isinstance(payload, Rebuild)
        expansion = Expansion(item, payload)
        try:
            expansion.open(self.expanding)
            expansion.survey(self.expanding)
            expansion.upserts(self.expanding, "")
            expansion.cancels(self.expanding, "")
            expansion.put_away(self.expanding, UUID(int=0))
        except psycopg.Error as error:
            raise as_ours(error) from error

    async def settle_all(self) -> None:
        while items := await self.claim():
            for item in items:
                await self.end(item)

    def wanted(self) -> dict[str, str]:
        """What the view says."""
        rows = self.world.connection.execute("select source_id, title from app")
        return {f"task:{source_id}": title for source_id, title in rows}

    def newest(self) -> dict[str, str]:
        """The newest edit of each source that can be shown."""
        rows = self.world.connection.execute(
            "select distinct on (1) sync_source_key(payload, id), payload -> 'event' ->> 'title' from sync_outbox"
            " where operation <> 'REBUILD_ALL' and parent_id is null"
            " and coalesce(payload -> 'event' ->> 'title', '') not like 'bad%%' order by 1, seq desc"
        )
        return {key: title for key, title in rows if title is not None}


@pytest.fixture(params=[True, False], ids=["view", "no view"])
async def calendar(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[Calendar]:
    async with open_session(database.reactor, name="claims") as session:
        calendar = Calendar(database, Outbox(session, brake=Limit(least=1_000_000)), has_view=request.param)
        yield calendar
        calendar.close()


@pytest.mark.parametrize("put_back", ["before the rebuild", "before the child", "after the child", "twice"])
@pytest.mark.parametrize("kind", ["upsert", "cancel"])
async def test_a_dead_letter_and_a_rebuild_in_any_order(calendar: Calendar, kind: str, put_back: str) -> None:
    """Without a view the dead letter is the newest state; with one it is what the view says."""
    calendar.edit("a")
    await calendar.settle_all()
    calendar.edit("a", kind=kind)
    [item] = await calendar.claim()
    await calendar.end(item, FailureCode.AUTH)
    if calendar.has_view:
        calendar.edit("a", enqueue=False)
    calendar.rebuild()
    if put_back == "before the rebuild":
        calendar.world.connection.execute(REQUEUE.encode())
    [rebuild] = await calendar.claim()
    await calendar.end(rebuild)
    if put_back in ("before the child", "twice"):
        calendar.world.connection.execute(REQUEUE.encode())
    await calendar.settle_all()
    calendar.world.connection.execute(REQUEUE.encode())
    await calendar.settle_all()
    assert calendar.shown == (calendar.wanted() if calendar.has_view else calendar.newest())


@pytest.mark.parametrize("calendar", [True], ids=["view"], indirect=True)
async def test_an_edit_that_waits_is_older_than_what_the_view_says(calendar: Calendar) -> None:
    waits = calendar.edit("a")
    calendar.world.connection.execute("update sync_outbox set next_attempt_at = now() + interval '1 h'")
    calendar.edit("a", enqueue=False)
    never_wanted = calendar.edit("b")
    calendar.world.connection.execute("delete from app where source_id = %s", (source("b"),))
    calendar.rebuild()
    await calendar.settle_all()
    assert calendar.shown == calendar.wanted()
    calendar.world.connection.execute("update sync_outbox set next_attempt_at = now()")
    await calendar.settle_all()
    assert calendar.shown == calendar.wanted()
    assert waits is not None
    assert never_wanted is not None
    assert {calendar.world.status(each)[2] for each in (waits, never_wanted)} == {"SUPERSEDED"}


@pytest.mark.parametrize("calendar", [True], ids=["view"], indirect=True)
async def test_a_child_that_cannot_be_shown_leaves_the_newest_that_can(calendar: Calendar) -> None:
    calendar.edit("a")
    calendar.edit("a", kind="bad")
    calendar.rebuild()
    await calendar.settle_all()
    assert calendar.shown == calendar.newest()


@pytest.mark.parametrize("calendar", [True], ids=["view"], indirect=True)
async def test_a_rebuild_waits_for_whoever_puts_an_older_ones_child_back(
    calendar: Calendar, database: Database
) -> None:
    calendar.edit("a", enqueue=False)
    calendar.rebuild()
    [rebuild] = await calendar.claim()
    await calendar.end(rebuild)
    [child] = await calendar.claim()
    await calendar.end(child, FailureCode.EXHAUSTED)
    calendar.edit("a", enqueue=False)
    calendar.rebuild()
    [rebuild] = await calendar.claim()
    with psycopg.connect(database.owner) as operator:
        operator.execute(REQUEUE.encode())
        with pytest.raises(RefusedError, match="55P03"):
            calendar.expand(rebuild)
        operator.commit()
    await calendar.end(rebuild)
    await calendar.settle_all()
    assert calendar.shown == calendar.wanted()
    assert calendar.world.status(child.id)[2] == "SUPERSEDED"


class Story:
    """Random steps. With a view every edit can be shown, and things change behind the outbox's back too."""

    def __init__(self, calendar: Calendar, database: Database, seed: int) -> None:
        self.random = random.Random(seed)
        self.calendar = calendar
        self.database = database
        self.held: list[Item] = []
        self.writers: dict[str, Connection] = {}
        self.is_behind = False

    async def step(self) -> None:
        steps = {
            self.edit: 8,
            self.begin: 2,
            self.over: 3,
            self.claim: 8,
            self.end: 9,
            self.requeue: 1,
            self.rebuild: 1,
        }
        [step] = self.random.choices(list(steps), list(steps.values()))
        await step()

    def kind(self) -> str:
        return self.random.choice(("upsert", "upsert", "cancel", "upsert" if self.calendar.has_view else "bad"))

    async def edit(self) -> None:
        about = self.random.choice(SOURCES)
        if about in self.writers:
            return
        enqueue = not self.calendar.has_view or self.random.random() < 0.7
        self.is_behind |= not enqueue
        self.calendar.edit(about, kind=self.kind(), enqueue=enqueue)

    async def begin(self) -> None:
        about = self.random.choice(SOURCES)
        if about not in self.writers:
            self.writers[about] = writer = psycopg.connect(self.database.owner)
            self.calendar.edit(about, kind=self.kind(), by=writer)

    async def over(self) -> None:
        if self.writers:
            about = self.random.choice(list(self.writers))
            writer = self.writers.pop(about)
            writer.commit() if self.random.random() < 0.8 else writer.rollback()
            writer.close()

    async def claim(self) -> None:
        self.held += await self.calendar.claim(self.random.randint(1, 3))

    async def end(self) -> None:
        if not self.held:
            return
        item = self.held.pop(self.random.randrange(len(self.held)))
        dies = item.operation != "REBUILD_ALL" and self.random.random() < 0.7
        self.is_behind &= item.operation != "REBUILD_ALL"
        await self.calendar.end(item, self.random.choice(GIVEN_UP) if dies else None)

    async def requeue(self) -> None:
        self.calendar.world.connection.execute(REQUEUE.encode())

    async def rebuild(self) -> None:
        self.calendar.rebuild()

    async def finish(self) -> None:
        """Everything is put back, again and again, and ends well."""
        while self.writers:
            await self.over()
        for item in self.held:
            self.is_behind &= item.operation != "REBUILD_ALL"
            await self.calendar.end(item)
        if self.calendar.has_view and self.random.random() < 0.5:
            for item in await self.calendar.claim():
                dies = item.operation != "REBUILD_ALL" and self.random.random() < 0.5
                await self.calendar.end(item, self.random.choice(GIVEN_UP) if dies else None)
            for about in SOURCES:
                self.calendar.edit(about, kind=self.kind(), enqueue=False)
            self.is_behind = True
        if self.is_behind:
            await self.rebuild()
        for _ in range(3):
            await self.calendar.settle_all()
            await self.requeue()
        await self.calendar.settle_all()


async def tell(calendar: Calendar, database: Database, *, seeds: range, steps: int) -> None:
    """Stories are short, so that what is wrong in the end is not made good by a later edit."""
    for seed in seeds:
        story = Story(calendar, database, seed)
        for _ in range(steps):
            await story.step()
        await story.finish()
        assert calendar.shown == (calendar.wanted() if calendar.has_view else calendar.newest()), seed
        calendar.world.connection.execute("truncate sync_outbox, sync_sources, app")
        calendar.shown.clear()


async def test_whatever_the_order_of_events(calendar: Calendar, database: Database) -> None:
    await tell(calendar, database, seeds=range(25), steps=20)


@pytest.mark.soak
async def test_whatever_the_order_of_many_events(calendar: Calendar, database: Database) -> None:
    await tell(calendar, database, seeds=range(100, 400), steps=25)
    await tell(calendar, database, seeds=range(400, 440), steps=150)
