"""Workers that die at any point, requests that are lost, carried out unheard, or arrive after their successors'.

Meanwhile people edit events, invite a guest, empty the trash, take the sharing of a calendar back and share it again,
and the application calls one calendar now by its address and now `primary`.

The store below remembers what a settled item leaves behind and what an unsettled one may have done, no more. Whatever
happened before, one undisturbed item makes the calendars agree with it: the event exists once, where and as it should,
or not at all.
"""

import random
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import pytest

from calendar_emulator import WriteKind
from reactor.core.calendar.answers import LEFT_BEHIND
from reactor.core.calendar.exchange import exchange
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.messages import ApiRequest, Method
from reactor.core.outcome import Dead, Done, FailureCode, Outcome
from reactor.core.payload import Cancel, Upsert
from tests.support.dialogues import CALENDAR, OTHER, Google, cancel_json, upsert_json, work

pytestmark = pytest.mark.no_cover

ROUNDS = 12
GUEST = {"email": "grace@example.com", "responseStatus": "accepted"}


@dataclass
class Store:
    """What is remembered of a source between items."""

    generation: int = 0
    bound: tuple[str, str] | None = None
    etag: str | None = None
    cancelled: bool = False
    touched: set[str] = field(default_factory=set)
    unsettled_removal: bool = False

    def work(self, payload: dict[str, object], seq: int, *, recreate: bool) -> SyncIntent:
        calendar_id, event_id = self.bound or (None, None)
        return work(
            payload,
            seq=seq,
            generation=self.generation,
            bound_event_id=event_id,
            bound_calendar_id=calendar_id,
            etag=self.etag,
            cancelled=self.cancelled,
            reopen=self.unsettled_removal,
            recreate=recreate,
            possible_calendars=tuple(sorted(self.touched)),
        )

    def begin(self, item: SyncIntent) -> None:
        self.touched.add(item.payload.calendar_id)
        self.unsettled_removal |= isinstance(item.payload, Cancel) or item.recreate

    def settle(self, item: SyncIntent, done: Done) -> None:
        cancel = isinstance(item.payload, Cancel)
        self.bound = None if cancel else (done.calendar_id, done.event_id)
        self.etag, self.generation, self.cancelled = done.etag, done.generation, cancel
        self.touched, self.unsettled_removal = set(done.possible_calendars), False

    def died(self, item: SyncIntent, dead: Dead, before: set[str]) -> None:
        """A calendar could not be seen: what was written counts, and a cancel may have removed something."""
        if dead.written is not None:
            self.settle(item, dead.written)
        elif dead != LEFT_BEHIND or isinstance(item.payload, Cancel):
            self.touched = before


class Chaos:
    """One source, one store, one Google, and bad luck."""

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)
        self.google = Google(seed)
        self.store = Store()
        self.hidden = False
        self.wire: list[ApiRequest] = []

    def attempt(self, item: SyncIntent, *, luck: float) -> Done | None:
        """Drive an item; it may break off before or after any of its requests was carried out, or before the settle."""
        before = set(self.store.touched)
        self.store.begin(item)
        dialogue = exchange(item)
        ask = next(dialogue)
        outcome: Outcome | None = None
        while outcome is None:
            self.late_arrivals()
            if self.rng.random() > luck:
                self.break_off(ask.request)
                return None
            try:
                ask = dialogue.send(self.google.carry_out(ask.request))
            except StopIteration as stop:
                outcome = stop.value
        if isinstance(outcome, Dead):
            self.died(item, outcome, before)
            return None
        assert isinstance(outcome, Done), outcome
        return None if self.rng.random() > luck else outcome

    def died(self, item: SyncIntent, dead: Dead, before: set[str]) -> None:
        assert (dead.code, self.hidden) == (FailureCode.CALENDAR_GONE, True), dead
        self.store.died(item, dead, before)

    def break_off(self, request: ApiRequest) -> None:
        fate = self.rng.choice(["lost", "unheard", "late"])
        if fate == "unheard" or (fate == "late" and request.api_method in (Method.INSERT, Method.REVIVE)):
            self.google.carry_out(request)
        elif fate == "late":
            self.wire.append(request)

    def late_arrivals(self) -> None:
        """A request is carried out long after its sender was given up. What creates an event never is that late here:

        something that does not exist has no version by which a later removal of it could be noticed.
        """
        if self.wire and self.rng.random() < 0.3:
            self.google.carry_out(self.wire.pop(self.rng.randrange(len(self.wire))))

    def people(self) -> None:
        """A person edits the event in the calendar, or empties the trash: its tombstones cannot be revived any more."""
        if self.rng.random() < 0.2:
            self.share(hidden=not self.hidden)
        for calendar_id in (CALENDAR, OTHER):
            for event_id, record in self.google.emulator.calendar(calendar_id).records.items():
                if self.rng.random() < 0.2:
                    if record.cancelled:
                        self.google.emulator.purge(calendar_id, event_id, status=self.rng.choice([403, 404, 410]))
                    else:
                        change: Any = self.rng.choice([{"summary": "edited"}, {"attendees": [GUEST]}])
                        self.google.emulator.edit_by_hand(calendar_id, event_id, change)

    def share(self, *, hidden: bool) -> None:
        self.hidden = hidden
        self.google.emulator.share(OTHER, CALENDAR, None if hidden else "owner")

    def payload(self, seq: int) -> dict[str, object]:
        calendar_id = self.rng.choice([CALENDAR, "primary", OTHER])
        if self.rng.random() < 0.35:
            return cancel_json(calendar_id)
        return upsert_json(f"state {seq}", calendar_id)

    def step(self, seq: int, *, luck: float) -> SyncIntent:
        """One item, attempted until it is settled or given up for a newer one."""
        payload = self.payload(seq)
        recreate = payload["operation"] == "UPSERT_EVENT" and self.rng.random() < 0.15
        while True:
            self.people()
            if luck == 1.0:
                self.share(hidden=False)
            item = self.store.work(payload, seq, recreate=recreate)
            done = self.attempt(item, luck=luck)
            if done is not None:
                self.store.settle(item, done)
                return item
            if luck < 1.0 and self.rng.random() < 0.5:
                return item

    def check(self, item: SyncIntent) -> None:
        live = {calendar_id: self.google.titles(calendar_id) for calendar_id in (CALENDAR, OTHER)}
        wanted: dict[str, list[str]] = {CALENDAR: [], OTHER: []}
        if isinstance(item.payload, Upsert):
            name = item.payload.calendar_id
            wanted[CALENDAR if name == "primary" else name] = [item.payload.event.title]
        assert live == wanted

    def check_guests(self) -> None:
        """No update has ever taken a guest away; what was removed and comes back begins anew."""
        for calendar_id in (CALENDAR, OTHER):
            for record in self.google.emulator.calendar(calendar_id).records.values():
                for before, after in pairwise(record.writes):
                    if after.kind is WriteKind.UPDATE:
                        assert before.event.get("attendees") == after.event.get("attendees") or after.event[
                            "attendees"
                        ] == [GUEST]


class Emptied(Chaos):
    """Calendars are emptied now and then, and no tombstone stays: as if no event had ever been made.

    Attributes:
        gone: How often an edit ended because its event was not there any more.
    """

    gone = 0

    def people(self) -> None:
        super().people()
        if self.rng.random() < 0.15:
            calendar_id = self.rng.choice([CALENDAR, OTHER])
            roles = self.google.emulator.calendar(calendar_id).roles
            self.google.emulator.remove_calendar(calendar_id)
            self.google.emulator.add_calendar(calendar_id).roles.update(roles)

    def died(self, item: SyncIntent, dead: Dead, before: set[str]) -> None:
        if dead.code is FailureCode.EVENT_GONE:
            self.gone += 1
            self.store.died(item, dead, before)
        else:
            super().died(item, dead, before)


@pytest.mark.parametrize("block", range(10))
def test_whatever_happened_before_the_last_item_makes_the_calendars_agree(block: int) -> None:
    for seed in range(block * 40, block * 40 + 40):
        chaos = Chaos(seed)
        for seq in range(1, ROUNDS):
            chaos.step(seq, luck=0.75)
        item = chaos.step(ROUNDS, luck=1.0)
        chaos.check(item)
        while chaos.wire:
            chaos.google.carry_out(chaos.wire.pop())
        chaos.check(item)
        chaos.check_guests()


def test_a_rebuild_of_a_calendar_that_was_emptied_makes_the_event_once() -> None:
    gone = 0
    for seed in range(200):
        chaos = Emptied(seed)
        for seq in range(1, ROUNDS):
            chaos.step(seq, luck=0.75)
        chaos.store.unsettled_removal = True  # as for the child of a rebuild
        chaos.check(chaos.step(ROUNDS, luck=1.0))
        gone += chaos.gone
    assert gone > 0, "no edit met an event that was not there any more"


def test_what_a_person_deleted_stays_deleted_through_all_of_it() -> None:
    for seed in range(100):
        chaos = Chaos(seed)
        item = chaos.store.work(upsert_json("state 1"), 1, recreate=False)
        done = chaos.attempt(item, luck=1.0)
        assert done is not None
        chaos.store.settle(item, done)
        chaos.google.emulator.delete_by_hand(CALENDAR, done.event_id)
        for seq in range(2, 6):
            outcome = chaos.google.run(chaos.store.work(upsert_json(f"state {seq}"), seq, recreate=False))
            assert isinstance(outcome, Dead)
            assert outcome.code is FailureCode.EVENT_GONE
        assert chaos.google.titles() == []


def test_whatever_account_is_behind_primary_its_calendar_agrees_and_what_stays_elsewhere_was_said() -> None:
    accounts = [CALENDAR, "bob@example.com"]
    for seed in range(150):
        chaos = Chaos(seed)
        google, store, rng = chaos.google, chaos.store, chaos.rng
        google.emulator.add_user("bob@example.com")
        google.sign_in(accounts[0])
        said = False
        for seq in range(1, 10):
            if rng.random() < 0.4:
                accounts.reverse()
                google.sign_in(accounts[0])
            wanted = [f"state {seq}"] if rng.random() < 0.7 else []
            payload = upsert_json(wanted[0], "primary") if wanted else cancel_json("primary")
            item, before = store.work(payload, seq, recreate=False), set(store.touched)
            store.begin(item)
            outcome = google.run(item)
            here, there = map(google.titles, accounts)
            if isinstance(outcome, Done):
                said |= bool(outcome.note)
            else:
                assert isinstance(outcome, Dead)
                assert (outcome.code, wanted) == (FailureCode.CALENDAR_GONE, [])
                said = True
            assert here == wanted
            assert len(there) <= 1
            assert not there or said, "an event stays in the other account, and nobody knows"
            if rng.random() < 0.2:
                said = True  # an attempt that was never settled has said nothing
            elif isinstance(outcome, Done):
                store.settle(item, outcome)
            else:
                store.died(item, outcome, before)
