"""The fault plan: which calls go wrong, and how.

Pure and deterministic: probabilities come from the emulator's seeded generator, times from its clock. Rules are asked
in the order in which they were added. The latencies of all rules that match are added; the first one with an effect
decides what happens.
"""

import random
from dataclasses import dataclass
from typing import Literal

Effect = Literal["", "error", "drop", "truncate", "html", "garbage", "length", "malformed"]


@dataclass(frozen=True, slots=True)
class Target:
    """What a rule looks at: one call, alone or as a part of a batch."""

    operation: str
    calendar: str = ""
    event: str = ""
    in_batch: bool = False


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule. Conditions left at their default always hold.

    Attributes:
        operation: insert, get, update, patch, delete, list, ..., `batch` (the outer request), `token`, `authorize`.
        calendar: The calendar's id.
        event_prefix: How the event's id starts.
        in_batch: Only parts of a batch (True), only calls of their own (False).
        nth: Only the nth call (from 1) for which the conditions above hold.
        probability: Chance to fire, 0 to 1.
        times: How often it may fire at most.
        after: Not before this time of the emulator's clock.
        until: Not at or after this time.
        effect: `error` answers status and reason; `drop` closes the connection without an answer; `truncate` sends half
            the body; `length` announces less than it sends; `html` answers a proxy's page; `garbage` answers 200 with
            broken JSON; `malformed` answers no HTTP at all. For a part of a batch `drop` leaves the part out, and
            `truncate`, `length` and `malformed` damage it alone. Empty: latency only.
        status: The status of `error` and `html`, 0 for the reason's usual one.
        reason: The reason of `error`; for `token` the error's name.
        message: The message of `error`, empty for the usual one.
        front_end: Whether the error has the front-end's shape; None for the reason's usual one.
        retry_after: A Retry-After header for `error` and `html`.
        commit: The chance that the call is carried out all the same, 0 to 1; for a batch, of each of its parts.
            None: always where only the answer is damaged (`truncate`, `length`, `garbage`, `malformed`), else never.
        latency: Seconds to wait before the call is carried out.
        latency_after: Seconds to wait between carrying it out and answering.
    """

    operation: str | None = None
    calendar: str | None = None
    event_prefix: str = ""
    in_batch: bool | None = None
    nth: int | None = None
    probability: float = 1.0
    times: int | None = None
    after: float | None = None
    until: float | None = None
    effect: Effect = ""
    status: int = 0
    reason: str = ""
    message: str = ""
    front_end: bool | None = None
    retry_after: str | None = None
    commit: float | None = None
    latency: float = 0.0
    latency_after: float = 0.0

    @property
    def chance_to_commit(self) -> float:
        """`commit` with its default filled in."""
        if self.commit is not None:
            return self.commit
        return 1.0 if self.effect in ("", "truncate", "length", "garbage", "malformed") else 0.0

    def concerns(self, target: Target) -> bool:
        """Whether the call is one that the rule is about."""
        return (
            self.operation in (None, target.operation)
            and self.calendar in (None, target.calendar)
            and target.event.startswith(self.event_prefix)
            and self.in_batch in (None, target.in_batch)
        )


@dataclass(frozen=True, slots=True)
class Verdict:
    """What happens to one call.

    Attributes:
        fault: The rule with an effect, None if the call goes well.
        before: Seconds to wait before it.
        after: Seconds to wait after it.
    """

    fault: Fault | None = None
    before: float = 0.0
    after: float = 0.0


_NOTHING = Verdict()


@dataclass(slots=True)
class Rule:
    """A fault in the plan.

    Attributes:
        fault: What it does.
        seen: How many calls it was about.
        fired: How often it fired.
    """

    fault: Fault
    seen: int = 0
    fired: int = 0

    def fires(self, target: Target, now: float, rng: random.Random, *, shadowed: bool) -> bool:
        """Decide about one call, and count it; a rule that is shadowed by an earlier one sees and does not fire."""
        fault = self.fault
        if not fault.concerns(target):
            return False
        self.seen += 1
        fires = (
            not shadowed
            and fault.nth in (None, self.seen)
            and (fault.times is None or self.fired < fault.times)
            and (fault.after is None or now >= fault.after)
            and (fault.until is None or now < fault.until)
            and (fault.probability >= 1.0 or rng.random() < fault.probability)
        )
        self.fired += fires
        return fires


class FaultPlan:
    """All rules, in the order they were added."""

    def __init__(self, rng: random.Random) -> None:
        self.rules: list[Rule] = []
        self._rng = rng

    def add(self, fault: Fault) -> Rule:
        """Add a rule; the returned object counts, and `remove` takes it."""
        rule = Rule(fault)
        self.rules.append(rule)
        return rule

    def remove(self, rule: Rule) -> None:
        """Take a rule out of the plan."""
        self.rules.remove(rule)

    def clear(self) -> None:
        """Let everything go well again."""
        self.rules.clear()

    def judge(self, target: Target, now: float) -> Verdict:
        """Decide what happens to a call."""
        if not self.rules:
            return _NOTHING
        decisive: Fault | None = None
        before = after = 0.0
        for rule in self.rules:
            shadowed = decisive is not None and bool(rule.fault.effect)
            if not rule.fires(target, now, self._rng, shadowed=shadowed):
                continue
            before += rule.fault.latency
            after += rule.fault.latency_after
            if rule.fault.effect:
                decisive = rule.fault
        return Verdict(decisive, before, after)

    def commits(self, fault: Fault) -> bool:
        """Whether a call that meets the fault is carried out."""
        chance = fault.chance_to_commit
        return chance >= 1.0 or (chance > 0.0 and self._rng.random() < chance)
