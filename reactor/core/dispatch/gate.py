"""The gate: when to look for work, and when writers have to call. Values and `now` in, the next step out.

NOTIFY takes a lock that all notifying commits of a database queue for, so an application that notifies on every insert
loses two thirds of its commits under load. The gate keeps NOTIFY for the moment when it is needed: when we sleep. It is
one advisory lock, *G*. A writer's insert tries to share it. If it can, nobody sleeps and nothing has to be said; it
holds its share to the end of its transaction. If it cannot, somebody sleeps, and it notifies.

    DEAF      there is no session to listen on: look now and then                 connected → AWAKE
    AWAKE     look, and look again every few ms                                   nothing, and calls allowed → HUNGRY
    HUNGRY    ask for G                                                           granted → ARMED
                refused by a silent writer: look, ask again a little later        a peer has it → WATCHING
    ARMED     G is ours: look once more, then sleep until the next due time       more work than one look takes, a call
              or the slow poll; writers call, and a call is a look                during a look, calls used up → AWAKE
    WATCHING  a peer is armed, so writers call us too: sleep, and now and then    notified → AWAKE
              see whether it still is                                             it is not → HUNGRY
    FULL      no capacity to claim with: sleep; writers keep silent               a slot is freed → AWAKE

Out of every state a lost session leads to DEAF, and a look without capacity to FULL; a look that claimed something
leads to AWAKE, but out of ARMED only where it left something behind. Whoever leaves ARMED gives G back.

Why nothing is missed. ARMED means that G was granted exclusively: every writer that shared it, and so kept silent, has
ended, and every later one fails its try and notifies us. A row committed in silence is therefore visible to the look
that follows the grant, and only after that look, if it was complete, do we sleep. A look is complete when it covered
everything that we could claim; one that met a busy peer was none. For as long as G is ours, all that is committed later
is called for, and a call that finds us asleep is followed by a look. A call that arrives while a look is under way is
not lost either: it makes the state AWAKE, and from there no path leads to sleep but through another look after a grant.

Why G is kept over a call that finds us asleep. To give it back, to ask for it again and to look once more after the
grant would be three of the six questions that a wake asks the database (`python -m benchmarks where` counts its CPU).
They buy silence for the writers of the next milliseconds, and where rows come now and then there are none. A second
call before the look is done is a sign of such writers.

Why a peer's arming is good enough. While a peer holds G, writers notify, and a notification reaches all listeners. What
was committed in silence before the peer got G is the peer's to find in its look. If it dies in between, G is free, and
we notice when we see to it: after `watch`, then after twice as long, up to `watch_cap` where nobody calls. So where
rows come now and then a killed peer is missed within a second or two. After a long silence that may take some seconds,
in which writers call nobody, unless a replica starts meanwhile. That is the price of asking little: to see to the peer
each second was more than half of all that an idle replica asked (`python -m benchmarks idle`).

Why a watcher polls less. The slow poll is for rows that no writer calls for, and the armed peer polls for them.

Why calls are counted. A call costs its writer little where it is alone, and much where many writers call at once, since
their commits then queue. So calls have a budget, a token bucket: each that is heard takes a token, and without a token
we give G back, stay AWAKE and look every few ms. A row now and then finds us asleep and is claimed at once; where many
writers are at work, the bucket is soon empty, and the next sleep has to wait for it to fill.

Why asking waits, and why only shortly. With writers that overlap for ever a mere try would never be granted; a request
that queues makes newcomers fail their try (so they notify) and is granted when those at work have ended. But a session
that waits for a lock inside a statement holds back VACUUM in the whole database. So it gives up after `ask` seconds,
looks, and asks again later.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto


class GateState(Enum):
    """Where the gate is; the module's head tells what each means."""

    DEAF = auto()
    AWAKE = auto()
    HUNGRY = auto()
    ARMED = auto()
    WATCHING = auto()
    FULL = auto()


class LookResult(Enum):
    """What a look came to."""

    WORK = auto()
    """Something was claimed; there may be more."""
    NOTHING = auto()
    """Everything was looked at and nothing was to be had."""
    BUSY = auto()
    """A peer was claiming: this was not a look."""
    FULL = auto()
    """There was no capacity to claim with."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look came to.

    Attributes:
        found: The result.
        due_in: Seconds until the next row becomes due, as far as the look could tell.
        left_behind: Whether due rows were left: for others (with `LookResult.FULL`), or for the next look
            (`LookResult.WORK`).
    """

    found: LookResult
    due_in: float = math.inf
    left_behind: bool = False


class LockAttempt(Enum):
    """What became of asking for G."""

    GRANTED = auto()
    WRITER = auto()
    """A writer that kept silent is still at work."""
    PEER = auto()
    """Another replica is armed."""


class GateAction(Enum):
    """What the caller has to do next."""

    LOOK = auto()
    ASK = auto()
    """Ask for G, waiting for at most `Timings.ask` seconds; report with `asked`."""
    SEE_PEER = auto()
    """See whether a peer holds G; report with `saw_peer`."""
    RELEASE = auto()
    ANNOUNCE = auto()
    """Notify the others: here are due rows that we cannot take."""
    SLEEP = auto()


@dataclass(frozen=True, slots=True)
class GateStep:
    """The next thing to do; `until` is when to stop sleeping."""

    do: GateAction
    until: float = math.inf


@dataclass(frozen=True, slots=True)
class Timings:
    """Durations, in seconds.

    Attributes:
        poll: The slow poll, the net under everything.
        awake_poll: Between looks while awake: the latency of a row that arrives in that time, without a NOTIFY.
        calls_per_second: How many calls of writers a second are worth their cost in the long run.
        calls_at_once: How many more may come at once.
        ask: How long asking waits for writers; short, for VACUUM's sake.
        retry: The first pause after a writer refused; it doubles up to `retry_cap`.
        retry_cap: The longest such pause: what a row committed beside a long transaction may have to wait.
        watch: The first pause before we see whether the armed peer still is; it doubles up to `watch_cap`.
        watch_cap: The longest such pause.
        watch_polls: So many times rarer is the slow poll where a peer is armed.
        announce: The shortest time between announcements.
        deaf_poll: Between looks while there is no session to listen on.
    """

    poll: float = 5.0
    awake_poll: float = 0.005
    calls_per_second: float = 50.0
    calls_at_once: int = 20
    ask: float = 0.01
    retry: float = 0.05
    retry_cap: float = 0.25
    watch: float = 1.0
    watch_cap: float = 6.0
    watch_polls: float = 3.0
    announce: float = 0.25
    deaf_poll: float = 0.25


class Gate:
    """The state machine.

    Ask `next` what to do, do it, report it; report what happens (`notified`, `freed`, ...) when it happens.

    Args:
        timings: The durations.
        jitter: Returns a random number from 0 to 1; spreads replicas' polls over time.
    """

    def __init__(self, timings: Timings, jitter: Callable[[], float]) -> None:
        self._timings = timings
        self._jitter = jitter
        self.state = GateState.DEAF
        self.holds = False
        """Whether G is, or may be, ours."""
        self._look_at = -math.inf
        self._ask_at = -math.inf
        self._retry = timings.retry
        self._watch_pause = timings.watch
        self._busy_pause = timings.awake_poll  # a claim takes milliseconds; the jitter parts two losers
        self._calls = 0.0  # tokens taken, as of `_calls_at`
        self._calls_at = -math.inf
        self._asleep = False
        self._announce_wanted = False
        self._announce_at = -math.inf

    def next(self, now: float) -> GateStep:
        """Tell what to do now; it is taken to be done at once."""
        step = self._next(now)
        self._asleep = step.do is GateAction.SLEEP
        return step

    def _next(self, now: float) -> GateStep:
        if self.holds and self.state is not GateState.ARMED:
            return GateStep(GateAction.RELEASE)
        if self._announce_wanted and self.state is not GateState.DEAF and now >= self._announce_at:
            return GateStep(GateAction.ANNOUNCE)
        if now >= self._look_at:
            return GateStep(GateAction.LOOK)
        if self.state in (GateState.HUNGRY, GateState.WATCHING):
            if now >= self._ask_at:
                return GateStep(GateAction.ASK if self.state is GateState.HUNGRY else GateAction.SEE_PEER)
            return GateStep(GateAction.SLEEP, min(self._ask_at, self._look_at))
        if self._announce_wanted and self.state is not GateState.DEAF:
            return GateStep(GateAction.SLEEP, min(self._announce_at, self._look_at))
        return GateStep(GateAction.SLEEP, self._look_at)

    def looked(self, look: Look, now: float) -> None:
        """Take in what a look came to."""
        match look.found:
            case LookResult.WORK:
                if look.left_behind or self.state is not GateState.ARMED:
                    self._wake(now)
                if not look.left_behind:  # the next look would only compete with what this one found
                    self._look_at = now + self._timings.awake_poll
            case LookResult.FULL:
                self.state = GateState.DEAF if self.state is GateState.DEAF else GateState.FULL
                self._look_at = self._next_poll(now)
                self._announce_wanted = look.left_behind
            case LookResult.BUSY:
                self._look_at = now + self._busy_pause * (0.25 + 0.75 * self._jitter())
                self._busy_pause = min(2 * self._busy_pause, 8 * self._timings.awake_poll)
                return
            case _:  # NOTHING
                self._nothing(look.due_in, now)
        self._busy_pause = self._timings.awake_poll

    def _nothing(self, due_in: float, now: float) -> None:
        due_at = now + max(due_in, 0.0)
        match self.state:
            case GateState.DEAF:
                self._look_at = min(due_at, now + self._timings.deaf_poll)
            case GateState.AWAKE | GateState.FULL if not self._may_be_called(now):
                self.state = GateState.AWAKE
                self._look_at = now + self._timings.awake_poll
            case GateState.AWAKE | GateState.FULL:
                self._go_hungry(now)
                self._look_at = min(due_at, self._next_poll(now))
            case _:
                self._look_at = min(due_at, self._next_poll(now))

    def asked(self, answer: LockAttempt, now: float) -> None:
        """Take in what became of asking for G."""
        self.holds = answer is LockAttempt.GRANTED
        if self.state is not GateState.HUNGRY:
            return  # something woke us meanwhile; if it was granted, `next` gives it back
        match answer:
            case LockAttempt.GRANTED:
                self.state = GateState.ARMED
                self._look_at = now
            case LockAttempt.PEER:
                self._watch_pause = self._timings.watch
                self._watch(now)
            case _:  # WRITER
                # Whatever it kept silent about is visible when it commits, and only a look finds it.
                self._look_at = now
                self._ask_at = now + self._retry
                self._retry = min(2 * self._retry, self._timings.retry_cap)

    def saw_peer(self, *, armed: bool, now: float) -> None:
        """Take in whether a peer holds G."""
        if self.state is not GateState.WATCHING:
            return
        if armed:
            self._watch_pause = min(2 * self._watch_pause, self._timings.watch_cap)
            self._watch(now)
        else:
            self._go_hungry(now)
            self._look_at = now

    def _go_hungry(self, now: float) -> None:
        self.state = GateState.HUNGRY
        self._ask_at = now
        self._retry = self._timings.retry

    def _watch(self, now: float) -> None:
        self.state = GateState.WATCHING
        self._ask_at = now + self._watch_pause * (0.75 + 0.5 * self._jitter())

    def notified(self, now: float) -> None:
        """A writer called."""
        self._calls = self._calls_taken(now) + 1
        self._calls_at = now
        if self.state is GateState.ARMED and self._asleep and self._may_be_called(now):
            self._asleep, self._look_at = False, now
        elif self.state is not GateState.FULL:
            self._wake(now)

    def freed(self, now: float) -> None:
        """There is capacity again."""
        if self.state is GateState.FULL:
            self._wake(now)
        else:
            self.due(now)

    def due(self, at: float) -> None:
        """Something becomes claimable then that no writer calls for: a retry, a lane that reopens."""
        self._look_at = min(self._look_at, at)

    def announced(self, now: float) -> None:
        """The others were told."""
        self._announce_wanted = False
        self._announce_at = now + self._timings.announce

    def released(self) -> None:
        """G was given back."""
        self.holds = False

    def connected(self, now: float) -> None:
        """There is a session and it listens: whatever came before that is for a look to find."""
        self.holds = False
        self.state = GateState.AWAKE
        self._wake(now)

    def disconnected(self, now: float) -> None:
        """The session is gone, and G with it."""
        self.holds = False
        self.state = GateState.DEAF
        self._look_at = now

    def _wake(self, now: float) -> None:
        """Look at once; deaf, it stays so, since no call would be heard."""
        if self.state is not GateState.DEAF:
            self.state = GateState.AWAKE
        self._look_at = now

    def _calls_taken(self, now: float) -> float:
        return max(0.0, self._calls - (now - self._calls_at) * self._timings.calls_per_second)

    def _may_be_called(self, now: float) -> bool:
        return self._calls_taken(now) < self._timings.calls_at_once

    def _next_poll(self, now: float) -> float:
        poll = self._timings.poll * (self._timings.watch_polls if self.state is GateState.WATCHING else 1)
        return now + poll * (0.75 + 0.5 * self._jitter())
