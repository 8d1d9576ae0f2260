"""Histories: what happens, and when, as values that are all made up front from one seed.

Each event names what it concerns by number (a workspace, a source, the n-th replica), and does nothing where there is
no such thing at that moment. So any event can be left out, and what remains is still a history: that is what makes
them shrink (`tests.simulator.shrink`).
"""

import random
from collections import Counter
from dataclasses import dataclass, field

from reactor.core.brake import Limit
from tests.simulator.application import Edit, Source
from tests.simulator.google_faults import KINDS

SQLSTATES = ("25006", "42501", "53100", "57014", "55P03", "40001", "40P01", "22008", "XX000")
STATEMENTS = ("claim", "settle", "sweep", "ring", "followed", "all", "rebuild", "ask", "announce", "count")
POISONS = (
    "null due",
    "infinite due",
    "ancient due",
    "ancient birth",
    "born in the future",
    "oversized",
    "a number of 5,000 digits",
    "nesting of 3,000",
    "a list",
    "a text",
    "a number",
    "null",
    "no source",
    "another workspace",
    "bad times",
    "stuck",
    "no attempts left",
    "unknown zone",
)


@dataclass(frozen=True, slots=True)
class Setup:
    """What a history happens in.

    Attributes:
        replicas: How many.
        workspaces: How many; the first `innocents` of them have no faults of their own.
        latency: Seconds that Google takes, at most.
        drain: Seconds for a drain.
    """

    replicas: int = 2
    workspaces: int = 3
    innocents: int = 1
    concurrency: int = 16
    lane_concurrency: int = 4
    latency: float = 0.1
    drain: float = 1.0
    brake: Limit = field(default_factory=lambda: Limit(share=0.5, least=6))


@dataclass(frozen=True, slots=True)
class Write:
    """A transaction of the application.

    Attributes:
        edits: What it writes.
        commit_after: Seconds until it commits, None for never.
        age: Seconds that its rows claim to have waited: a backlog.
    """

    edits: tuple[tuple[Source, Edit], ...]
    commit_after: float | None = 0.0
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class Poison:
    """A row that is odd in some way."""

    workspace: int
    kind: str


@dataclass(frozen=True, slots=True)
class Curse:
    """An edit that goes wrong whenever it is sent: "deadly" ends the worker, "500" is what Google answers."""

    source: Source
    kind: str


@dataclass(frozen=True, slots=True)
class Lock:
    """A transaction of the application that stays open, with a lock on something of a workspace."""

    workspace: int
    what: str
    source: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Order:
    """What a person does: requeue, release, rebuild, recreate, connect, revoke, disable, cancel all."""

    what: str
    workspace: int = 0
    calendar: int = 0


@dataclass(frozen=True, slots=True)
class Blow:
    """What befalls a replica: kill, drain, lose (a session).

    Attributes:
        replica: The n-th.
        session: Which one is lost.
        linger: Seconds until the server notices.
        steps: Rounds of the scheduler to wait first: it may fall at any checkpoint.
        back: Seconds until it starts again, None to stay away.
    """

    what: str
    replica: int
    session: str = "claims"
    linger: float = 0.0
    steps: int = 0
    back: float | None = 1.0


@dataclass(frozen=True, slots=True)
class Weather:
    """What befalls the database: restart, refuse, slow, step (of its clock)."""

    what: str
    kind: str = "all"
    sqlstate: str = ""
    seconds: float = 1.0
    amount: float = 0.0


@dataclass(frozen=True, slots=True)
class Trick:
    """What befalls Google: a kind of fault, for everybody or with a workspace's calendar; "cut" is the network."""

    kind: str
    seconds: float
    workspace: int | None = None
    calendar: int = 0


@dataclass(frozen=True, slots=True)
class Hand:
    """What a person does in a calendar: delete (the n-th event), empty (the trash).

    Attributes:
        event: Which event.
        status: What answers an attempt to revive what was in the trash: 403, 404, 410.
    """

    what: str
    workspace: int
    calendar: int = 0
    event: int = 0
    status: int = 403


What = Write | Poison | Curse | Lock | Order | Blow | Weather | Trick | Hand


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happens, so many seconds after the beginning."""

    at: float
    what: What


@dataclass(frozen=True, slots=True)
class History:
    """A whole history."""

    seed: int
    setup: Setup
    events: tuple[Event, ...]


def draw(seed: int) -> History:
    """Make up a history."""
    return _Drawing(seed).history()


class _Drawing:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.r = random.Random(f"history {seed}")
        r = self.r
        workspaces = r.choice((2, 3, 3, 4))
        self.setup = Setup(
            replicas=r.choice((1, 2, 2, 3)),
            workspaces=workspaces,
            innocents=r.choice((1, 1, 2)) if workspaces > 2 else 1,
            lane_concurrency=r.choice((1, 2, 4)),
            latency=r.choice((0.02, 0.1, 0.1, 0.4, 1.5)),
            drain=r.choice((0.3, 2.0)),
        )
        self.span = r.choice((5.0, 5.0, 20.0, 20.0, 20.0, 60.0, 60.0, 400.0))
        # A mix of its own, so that some histories are about one thing and others about all. What befalls everybody
        # excuses much, so there are histories without it.
        self.theme = r.choice(("guilt", "weather", "all", "all"))
        kinds: tuple[str, ...] = {"guilt": _GUILT, "weather": _FATE, "all": (*_GUILT, *_FATE)}[self.theme]
        self.weights = Counter(dict.fromkeys(kinds, 0))
        for each in kinds:
            self.weights[each] += r.choice((0, 1, 1, 3))
        self.weights["write"] = r.choice((4, 8, 12))

    def history(self) -> History:
        r = self.r
        count = r.choice((6, 12, 20, 30))
        kinds, weights = list(self.weights), list(self.weights.values())
        events = [Event(0.0, self.write())]
        for _ in range(count):
            [kind] = r.choices(kinds, weights)
            at = r.uniform(0, self.span)
            events.append(Event(round(at, 3), what := getattr(self, kind)()))
            if isinstance(what, Lock):  # which is nothing where nothing is under way
                for later in (r.uniform(-0.2, 0.0), r.uniform(0.0, 0.2), r.uniform(0.0, what.seconds)):
                    source = what.workspace, what.source
                    events.append(Event(round(max(0.0, at + later), 3), Write(((source, self.edit(source)),))))
                if self.theme == "all" and r.random() < 0.5:  # a worker is lost with what is locked
                    events.append(Event(round(at + r.uniform(0.0, 0.2), 3), self.kill()))
            if isinstance(what, Trick):  # which is nothing where nothing is sent
                for later in sorted(r.uniform(0.0, what.seconds) for _ in range(r.choice((0, 2, 4)))):
                    source = self.source(what.workspace)
                    events.append(Event(round(at + later, 3), Write(((source, self.edit(source)),))))
            if isinstance(what, Hand) and what.what == "empty":  # which is nothing before an event comes back
                source = self.source(what.workspace)
                for later, kind in ((-1.5, "upsert"), (-0.7, "cancel"), (0.2, "upsert")):
                    edit = Edit(kind, what.calendar)
                    events.append(Event(round(max(0.0, at + later), 3), Write(((source, edit),))))
            if isinstance(what, Blow | Weather) and r.random() < 0.5:  # and harmless where nothing is in hand
                events.append(Event(round(max(0.0, at - r.uniform(0.0, 0.3)), 3), self.flood()))
        # Something for the innocent to do, whatever happens.
        for workspace in range(self.setup.innocents):
            times = sorted(r.uniform(0, self.span) for _ in range(3))
            events += [Event(round(at, 3), Write((((workspace, r.randrange(3)), Edit()),))) for at in times]
        events.sort(key=lambda event: event.at)
        return History(self.seed, self.setup, tuple(events))

    # Kinds of events

    def source(self, workspace: int | None = None) -> Source:
        workspace = self.r.randrange(self.setup.workspaces) if workspace is None else workspace
        return workspace, self.r.randrange(3 if workspace < self.setup.innocents else 4)

    def guilty(self) -> int:
        return self.r.randrange(self.setup.innocents, self.setup.workspaces)

    def edit(self, source: Source) -> Edit:
        kinds = ["upsert"] * 5 + ["cancel"] * 2
        if source[0] >= self.setup.innocents:
            kinds += ["bad for us", "bad for Google"]
        return Edit(self.r.choice(kinds), self.r.choice((0, 0, 1)))

    def write(self) -> Write:
        r = self.r
        edits = []
        for _ in range(r.choice((1, 1, 2, 5))):
            source = self.source()
            edits.append((source, self.edit(source)))
        commit = r.choice((0.0, 0.0, 0.0, r.uniform(0.001, 0.3), r.uniform(1, 20), None))
        return Write(tuple(edits), commit, r.choice((0.0, 0.0, 0.0, 100_000.0)))

    def flood(self) -> Write:
        workspace = self.guilty()
        edits = [((workspace, 10 + n), Edit()) for n in range(self.r.choice((10, 25, 40)))]
        return Write(tuple(edits))

    def poison(self) -> Poison:
        kind = "stuck" if self.r.random() < 0.2 else self.r.choice(POISONS)  # the worst of them
        return Poison(self.guilty(), kind)

    def curse(self) -> Curse:
        return Curse((self.guilty(), self.r.randrange(4)), self.r.choice(("deadly", "500", "500")))

    def lock(self) -> Lock:
        what = self.r.choice(("rows", "source", "workspace", "connection"))
        return Lock(self.guilty(), what, self.r.randrange(4), self.r.choice((0.5, 5.0, 40.0)))

    def order(self) -> Order:
        return Order(self.r.choice(("requeue", "release", "release")), self.guilty())

    def rebuild(self) -> Order:
        what = self.r.choice(("rebuild", "rebuild", "recreate"))
        return Order(what, self.r.randrange(self.setup.workspaces), self.r.choice((0, 0, 1)))

    def consent(self) -> Order:
        return Order(self.r.choice(("connect", "connect", "revoke", "disable")), self.guilty())

    def purge(self) -> Order:
        return Order("cancel all", self.guilty())

    def hand(self) -> Hand:
        return Hand("delete", self.guilty(), self.r.choice((0, 0, 1)), self.r.randrange(4))

    def trash(self) -> Hand:
        workspace = self.r.randrange(self.setup.workspaces)
        return Hand("empty", workspace, self.r.choice((0, 0, 1)), status=self.r.choice((403, 404, 410)))

    def kill(self) -> Blow:
        r = self.r
        return Blow(
            "kill",
            r.randrange(3),
            linger=r.choice((0.0, 0.0, 0.05, 1.0, 15.0)),
            steps=r.randrange(30),
            back=r.choice((0.0, 1.0, 5.0)),
        )

    def drain(self) -> Blow:
        return Blow("drain", self.r.randrange(3), steps=self.r.randrange(10), back=self.r.choice((0.0, 1.0, 5.0)))

    def lose(self) -> Blow:
        r = self.r
        session = r.choice(("claims", "claims", "settles", "listen"))
        return Blow("lose", r.randrange(3), session, linger=r.choice((0.0, 0.0, 0.3, 12.0)), steps=r.randrange(30))

    def weather(self) -> Weather:
        r = self.r
        match r.choice(("restart", "refuse", "refuse", "slow", "step")):
            case "restart":
                return Weather("restart", seconds=r.choice((0.0, 0.5, 10.0)))
            case "refuse":
                return Weather("refuse", r.choice(STATEMENTS), r.choice(SQLSTATES), seconds=r.choice((0.1, 2.0, 20.0)))
            case "slow":
                return Weather(
                    "slow", r.choice(STATEMENTS), seconds=r.choice((0.5, 5.0)), amount=r.choice((0.2, 3.0, 15.0))
                )
            case _:
                return Weather("step", amount=r.choice((-8.0, -0.5, 0.5, 8.0)))

    def trick(self) -> Trick:
        r = self.r
        kind = r.choice([*KINDS, "cut", "tokens expire"])
        everybody = kind not in KINDS or (KINDS[kind].everybody and r.random() < 0.5)
        if self.theme == "guilt" and everybody:
            kind, everybody = "read-only", False
        seconds = r.choice((0.5, 5.0, 20.0) if self.span < 400 else (20.0, 90.0, 200.0))  # until pauses are longest
        return Trick(kind, seconds, None if everybody else self.guilty(), r.choice((0, 1)))


_GUILT = (
    *("flood", "poison", "curse", "lock", "lock", "order", "rebuild", "consent", "purge", "trick", "trick"),
    *("hand", "trash"),
)
_FATE = ("flood", "kill", "drain", "lose", "lose", "weather", "trick", "rebuild", "order", "trash")
