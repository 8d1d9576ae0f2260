"""What befalls the application, its backups, its accounts and its calendars, as values that are drawn from a seed.

Each event names its subject by number and does nothing where there is no such thing. So any event can be left out of a
history, and what is left means the same: a failure is made smaller by leaving out
(`tests.support.travel_world.shrink`).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from calendar_emulator import Fault
from reactor.core.calendar.event import OUR_PROPERTIES
from tests.core.test_other_hands import HANDS
from tests.support.dialogues import cancel_json, upsert_json
from tests.support.history_model import SOURCES, TEAM, Source
from tests.support.travel_backups import Sequence

ADA = "ada@example.com"
BOB = "bob@example.com"
ACCOUNTS = (ADA, BOB)
NAMES = ("primary", "primary", ADA, TEAM, TEAM)
"""What the application calls its calendars; `primary` is whoever's account it is."""


@dataclass(frozen=True)
class Want:
    """What the application wants of a source; `None` and empty are left out of the payload.

    Attributes:
        calendar: By the application's name of it.
        day: Of December 2026, on which it begins.
        shows: Whether an event is to be there at all.
        colour: The colour that it gives, if any.
        description: What it says.
        reminder: Minutes before, where it gives reminders.
    """

    calendar: str
    day: int = 1
    shows: bool = True
    colour: str | None = None
    description: str | None = None
    reminder: int | None = None

    def payload(self, source: Source, title: str) -> dict[str, Any]:
        optional = {
            "colorId": self.colour,
            "description": self.description,
            "reminders": self.reminder and {"overrides": [{"method": "popup", "minutes": self.reminder}]},
        }
        times = {name: f"2026-12-{self.day:02}T{hour}:00:00Z" for name, hour in (("start", "09"), ("end", "10"))}
        event = times | {name: value for name, value in optional.items() if value}
        shape = upsert_json(title, self.calendar, **event) if self.shows else cancel_json(self.calendar)
        return {**shape, "workspaceId": str(source[0]), "sourceId": str(source[1])}


@dataclass(frozen=True)
class Write:
    """One transaction of the application's; `enqueue` is whether the outbox learns of it."""

    edits: tuple[tuple[int, Want], ...]
    enqueue: bool = True


@dataclass(frozen=True)
class Rebuild:
    workspace: int
    calendar: str
    recreate: bool = False


@dataclass(frozen=True)
class Requeue:
    """An operator puts all dead letters back."""


@dataclass(frozen=True)
class Backup:
    """All tables in one transaction, or the whole database as a template while no replica runs."""

    how: Literal["tables", "template"] = "tables"


@dataclass(frozen=True)
class Restore:
    """The backup with this number, counted back from the last one.

    Attributes:
        number: Which.
        sequence: What becomes of the sequence of places.
        running: Whether the replicas go on meanwhile; a template takes the database for itself.
        quiet: Whether triggers are off, as for `pg_restore --disable-triggers`.
    """

    number: int
    sequence: Sequence = "as it was"
    running: bool = False
    quiet: bool = True


@dataclass(frozen=True)
class Fall:
    """What else takes the order back, or what is remembered away."""

    how: Literal["set back", "restarted", "outbox emptied", "memory emptied"]


@dataclass(frozen=True)
class Connect:
    """A person connects a workspace, perhaps with another account."""

    workspace: int
    account: str


@dataclass(frozen=True)
class Revoke:
    workspace: int


@dataclass(frozen=True)
class Share:
    calendar: str
    account: str
    role: str | None


@dataclass(frozen=True)
class Recreate:
    """A calendar is deleted and made anew, or emptied, which looks the same."""

    calendar: str


@dataclass(frozen=True)
class Hand:
    """A person does something to one of the events that are there, by its number among them."""

    number: int
    what: str


@dataclass(frozen=True)
class Replicas:
    what: Literal["start", "stop", "kill", "lose claims", "lose listen", "lose settles"]


@dataclass(frozen=True)
class Rest:
    """Some time passes, and what is due is done if it can be."""

    seconds: float


Ending = Literal["edits", "rebuild", "edits and rebuild"]
ENDINGS: tuple[Ending, ...] = ("edits", "edits", "rebuild", "edits and rebuild")
Event = (
    Write
    | Rebuild
    | Requeue
    | Backup
    | Restore
    | Fall
    | Connect
    | Revoke
    | Share
    | Recreate
    | Hand
    | Replicas
    | Rest
    | Fault
)


@dataclass(frozen=True)
class History:
    """A history, and how it ends.

    Attributes:
        seed: From which it was drawn.
        has_view: Whether the application has a view of what it wants.
        events: What befalls it.
        ending: What the application does at last: an edit of each thing that needs one, a rebuild, or both.
        edited: What is edited at last whether it needs that or not.
        ada_shares: Whether Ada's own calendar is shared with Bob in the end.
    """

    seed: int
    has_view: bool
    ending: Ending
    edited: frozenset[Source]
    ada_shares: bool
    events: tuple[Event, ...] = field(default=(), repr=False)

    def __str__(self) -> str:
        return "\n".join([repr(self), *(f"    {event}" for event in self.events)])


OF_OURS: dict[str, dict[str, Any]] = {
    "title": {"summary": "by hand"},
    "time": {"start": {"dateTime": "2026-12-24T18:00:00Z"}, "end": {"dateTime": "2026-12-24T19:00:00Z"}},
    "words": {"description": "by hand", "location": "by hand"},
    "marks": {"extendedProperties": {"private": dict.fromkeys(OUR_PROPERTIES)}},
}
"""Changes by hand of what is ours: gone after the next edit."""
DEEDS: tuple[str, ...] = ("delete", "delete", "copy", "move")
"""What else people do to an event."""
SEQUENCES: tuple[Sequence, ...] = ("as it was", "as it was", "left", "restarted")
STEPS = 30
FAULTS = [
    *(Fault(operation=name, times=1, effect="drop", commit=1.0) for name in ("insert", "update", "delete")),
    Fault(operation="batch", times=1, effect="drop", commit=0.5),
    Fault(times=2, effect="error", status=503, reason="backendError"),
    Fault(operation="update", times=1, effect="error", status=412, reason="conditionNotMet"),
]


def draw(seed: int) -> History:
    """Draw a history: what a seed names."""
    rng = random.Random(seed)
    has_view = rng.random() < 0.6
    ending = rng.choice(ENDINGS) if has_view else "edits"
    edited = frozenset(source for source in SOURCES if rng.random() < 0.2)
    events = tuple(_Drawing(rng, has_view).events())
    return History(seed, has_view, ending, edited, rng.random() < 0.5, events)


class _Drawing:
    def __init__(self, rng: random.Random, has_view: bool) -> None:  # noqa: FBT001
        self._rng = rng
        self._has_view = has_view

    def events(self) -> list[Event]:
        everything = Write(tuple((n, self.want(shows=True)) for n in range(len(SOURCES))))
        calm = self.calm()
        begins: list[Event] = [everything, Rest(2.0), Backup("tables")]
        return begins + self.drawn(calm | self.wild(), 2 * STEPS // 3) + self.drawn(calm, STEPS // 3)

    def drawn(self, weighed: dict[Callable[[], list[Event]], int], steps: int) -> list[Event]:
        return [event for each in self._rng.choices(list(weighed), list(weighed.values()), k=steps) for event in each()]

    def calm(self) -> dict[Callable[[], list[Event]], int]:
        """What leaves no source in need of another edit, but by hand: so what goes wrong at the end is seen."""
        return {
            lambda: [self.write()]: 26,
            lambda: [self.hand()]: 16,
            lambda: [self.rest()]: 14,
            lambda: [self.replicas()]: 8,
            lambda: [self.share()]: 4,
            self.unshared: 5,
            lambda: [Requeue()]: 5,
            lambda: [self.fault()]: 4,
            lambda: [Revoke(self._rng.randrange(2))]: 1,
        }

    def wild(self) -> dict[Callable[[], list[Event]], int]:
        """What takes back, moves or makes anew."""
        return {
            lambda: [self.backup()]: 4,
            lambda: [self.restore()]: 6,
            lambda: [self.fall()]: 3,
            lambda: [self.connect()]: 6,
            lambda: [self.rebuild()]: 4,
            lambda: [Recreate(self._rng.choice([TEAM, TEAM, ADA]))]: 2,
        }

    def unshared(self) -> list[Event]:
        """A calendar cannot be seen for a while; the application does not know it: it cancels there, and moves."""
        there = tuple((number, replace(self.want(shows=True), calendar=TEAM)) for number in range(len(SOURCES)))
        some = self._rng.sample(range(len(SOURCES)), 3)
        away = tuple((number, self.want(shows=self._rng.random() < 0.3)) for number in some)
        unshared = [Share(TEAM, account, None) for account in ACCOUNTS]
        shared = [Share(TEAM, account, "owner") for account in ACCOUNTS]
        return [Write(there), Rest(1.0), *unshared, Write(away), self.write(), Rest(1.0), *shared]

    def want(self, *, shows: bool | None = None) -> Want:
        rng = self._rng
        return Want(
            rng.choice(NAMES),
            rng.randint(1, 20),
            rng.random() < 0.65 if shows is None else shows,
            rng.choice([None, None, "5", "7"]),
            rng.choice([None, None, "a < b & c"]),
            None if self._has_view else rng.choice([None, None, 15]),  # its view gives none
        )

    def write(self) -> Event:
        rng = self._rng
        edits = tuple((rng.randrange(len(SOURCES)), self.want()) for _ in range(rng.choice([1, 1, 1, 2, 5])))
        return Write(edits, not self._has_view or rng.random() < 0.9)

    def hand(self) -> Event:
        return Hand(self._rng.randrange(100), self._rng.choice(self._rng.choice([[*HANDS], [*OF_OURS, *DEEDS]])))

    def rest(self) -> Event:
        return Rest(self._rng.choice([0.02, 0.1, 1.0, 1.0]))

    def replicas(self) -> Event:
        return Replicas(
            self._rng.choice(["start", "start", "start", "stop", "kill", "kill", "lose claims", "lose listen"])
        )

    def backup(self) -> Event:
        return Backup(self._rng.choice(["tables", "tables", "tables", "template"]))

    def restore(self) -> Event:
        rng = self._rng
        sequence = rng.choice(SEQUENCES)
        return Restore(rng.randrange(3), sequence, rng.random() < 0.5, rng.random() < 0.5)

    def fall(self) -> Event:
        return Fall(self._rng.choice(["set back", "set back", "restarted", "outbox emptied", "memory emptied"]))

    def connect(self) -> Event:
        return Connect(self._rng.randrange(2), self._rng.choice(ACCOUNTS))

    def share(self) -> Event:
        rng = self._rng
        if rng.random() < 0.3:
            return Share(ADA, BOB, rng.choice(["writer", "reader", None]))
        return Share(TEAM, rng.choice([ADA, ADA, BOB]), rng.choice(["owner", "reader", None, None]))

    def rebuild(self) -> Event:
        return Rebuild(self._rng.randrange(2), self._rng.choice(NAMES), self._rng.random() < 0.3)

    def fault(self) -> Event:
        return self._rng.choice(FAULTS)
