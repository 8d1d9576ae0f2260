"""What is sent for a claimed item, and its outcome: the rules of retries, dead letters and memory in one place.

*Attempts count only what an item did itself.* An attempt that failed because of Google, the network or the deployment
says nothing about the item: a failure that an outage explains counts only where another item was answered meanwhile
(`reactor.core.dispatch.evidence`), and rate limits, requests that were never sent, a wrong client secret and a key that
cannot decrypt never do. The state of the breakers decides nothing. An attempt that does not count is not repeated at
once either: the lane is held back, and the row is not due before a pause. A rebuild's pause grows, because while it is
due nothing else of its workspace is claimed: it waits for as long as its row has existed. So the pauses double, over
restarts and replicas, without a count; if the lane is held back too, they are twice as long: then the lane opens first,
and edits go first.

*A quota is bound by age.* "The quota is used up" is meant to pass with the day; there are quotas of one calendar that
never do. So for an item that is older than a day it counts, and a person gets to see it as a dead letter. A backlog of
some days that meets a used-up quota may therefore pay for it, but little: one item asks in an hour, another each time.
An outage is not bound by age. How long an item has waited says nothing about how long Google has been away, and a
workspace that was stopped for two days would pay for the next minute of an outage. The cost is that an item which
Google cannot digest, and which is the only one of its deployment, is tried once a minute until another comes.

*A request is not its items.* One that carried several may have failed as a whole because of one of them. So an item
that could be charged for an outage travels alone (`reactor.core.dispatch.lane.take_batch`), and pays for nothing but
itself.

*The floor* rises with everything that ends, but for an item refused for its content: then the next older state is the
best there is. A cancel always moves it, because falling back to an older state would bring back the event that was to
go away. A rebuild's child moves it when it is applied, and only then: what it lies beyond may still be put back if it
dies.

*What an attempt may have left behind.* Only `Done` says what Google holds. Every other end may come after a request
that was carried out: a time-out, a refusal of the second request of two, a task that was cancelled. So every other end
leaves a note for the next attempt: the payload's calendar may hold the event (`possible_calendars`), and after a cancel
the tombstone may be ours (`reopen`). A note that was not necessary costs nothing in the calendar where the event should
be and one read in another. Two ends are known to have left nothing: the calendar does not exist, or the event is gone.
Only a cancel that could not see a calendar may have removed something from another one. Rebuilds and the removal of
extra events (`reactor.core.calendar.prune`) write nothing that a source would have to know.

*What is written counts, also in a dead letter.* An event that moves out of a calendar that cannot be seen any more is
written where it should be, and remembered and bound there; the dead letter is about what may be left in the old one.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from reactor.core.backoff import HOLD_CAP, ITEM_CAP, REBUILD_CAP, backoff
from reactor.core.calendar.intent import SyncIntent
from reactor.core.calendar.prune import PruneTarget, parse_prune_target
from reactor.core.dispatch.evidence import Answered
from reactor.core.item import AppliedReference, Binding, Item, Settlement, SourceState
from reactor.core.outcome import Dead, Done, Expanded, FailureCode, Outcome, Retry, RetryKind, Scope, Superseded
from reactor.core.payload import BadPayloadError, Cancel, Operation, Rebuild, Upsert, is_resource_id, parse

AGE_BOUND = 86_400.0
"""Seconds; most items this old have seen every daily quota be refilled."""
LONGEST_ERROR = 500
"""Characters of `last_error`: a payload of fifty bad lines has fifty problems."""
UNEXPECTED_ERROR = "its handling met an unexpected error; the log has it"
"""The `last_error` of an item whose handling met an unexpected error."""

_CONTENT = frozenset({FailureCode.BAD_PAYLOAD, FailureCode.BAD_REQUEST})


def prepare(item: Item) -> SyncIntent | Settlement:
    """Say what is wanted from Google for an item, or how it ends without asking Google."""
    target = None
    try:
        if item.is_child:
            target = parse_prune_target(item.workspace_id, item.payload)
        payload = target or parse(item.operation, item.workspace_id, item.payload)
    except BadPayloadError as error:
        return _dead(item, FailureCode.BAD_PAYLOAD, "; ".join(error.problems)[:LONGEST_ERROR])
    memory = item.memory
    return SyncIntent(
        workspace_id=payload.workspace_id,
        source_key=item.source_key,
        seq=item.seq,
        payload=payload,
        generation=memory.generation,
        bound_event_id=memory.event_id,
        bound_calendar_id=memory.calendar_id,
        etag=memory.etag,
        cancelled=memory.cancelled,
        reopen=memory.reopen or item.is_child,
        recreate=item.is_child and isinstance(payload, Upsert) and payload.recreate,
        # The note of a lost attempt may be of any payload, so of any text.
        possible_calendars=tuple(filter(is_resource_id, memory.possible_calendars)),
        repairs=item.is_child,
    )


def settle(
    item: Item,
    work: SyncIntent,
    outcome: Outcome,
    *,
    answered: Answered = Answered.NONE,
    random: float,
    ceiling: int,
) -> Settlement:
    """Say how an item ends after an attempt.

    Args:
        item: The item.
        work: What was wanted for it.
        outcome: The outcome of the attempt.
        answered: Which other requests were answered between the item's last failure and the moment when it was sent.
        random: From [0, 1); the jitter of the pause.
        ceiling: Failed attempts after which every item is a dead letter, whatever its row allows.
    """
    match outcome:
        case Done():
            return _done(item, work, outcome)
        case Expanded():
            left = outcome.left_alone
            note = f"left alone: {left} events of which it is not known what they should be" if left else None
            return Settlement(item, "COMPLETED", item.attempts, last_error=note, moves_floor=True)
        case Superseded(seq):
            return Settlement(
                item,
                "COMPLETED",
                item.attempts,
                failure_code=FailureCode.SUPERSEDED,
                moves_floor=not item.is_child,
                memory=_noted(item, work),
                newer=seq,
            )
        case Dead():
            return _died(item, work, outcome)
        case _:
            return _again(item, work, outcome, answered=answered, random=random, ceiling=ceiling)


def fail_unexpectedly(item: Item, work: SyncIntent | None, *, random: float, ceiling: int) -> Settlement:
    """Say how an item ends whose handling met an unexpected error: it costs an attempt.

    An error that always comes back ends, after some tries, in a dead letter that a person sees, and one that came by
    chance costs little. Any part of the code may have failed, so this function relies on little.

    Args:
        item: The item.
        work: What was wanted for it, None where that is not known.
        random: From [0, 1); the jitter of the pause.
        ceiling: Failed attempts after which every item is a dead letter, whatever its row allows.
    """
    memory = None if work is None else _noted(item, work)
    attempts = item.attempts + 1
    if attempts < min(item.max_attempts, ceiling):
        pause = backoff(attempts, random=random, cap=ITEM_CAP)
        return Settlement(item, "FAILED", attempts, pause, last_error=UNEXPECTED_ERROR, memory=memory)
    exhausted = _dead(item, FailureCode.EXHAUSTED, UNEXPECTED_ERROR)
    return replace(exhausted, attempts=min(attempts, item.max_attempts), memory=memory)


def release_unknown(item: Item, work: SyncIntent) -> Settlement:
    """Release an item that was sent, or may have been: its outcome is unknown, and it is not the item's fault."""
    return Settlement(item, "PENDING", item.attempts, memory=_noted(item, work))


def _done(item: Item, work: SyncIntent, done: Done) -> Settlement:
    if not isinstance(work.payload, Cancel | Upsert):
        return Settlement(item, "COMPLETED", item.attempts)
    if isinstance(work.payload, Cancel):
        memory = SourceState(item.memory.floor_seq, done.generation, cancelled=True)
        return Settlement(item, "COMPLETED", item.attempts, moves_floor=True, memory=memory, unbind=True)
    return Settlement(
        item,
        "COMPLETED",
        item.attempts,
        moves_floor=True,
        last_error=done.note or None,
        memory=SourceState(
            item.memory.floor_seq,
            done.generation,
            done.event_id,
            done.calendar_id,
            done.etag,
            possible_calendars=done.possible_calendars,
        ),
        applied=AppliedReference.ROW,
        binding=_binding(work.payload, done),
    )


def _binding(payload: Upsert, done: Done) -> Binding:
    event = payload.event
    start, end = event.span
    return Binding(
        event_id=done.event_id,
        calendar_id=payload.calendar_id,  # by the application's name of it: `primary` stays that
        source_type=payload.source_type,
        source_id=payload.source_id,
        event_type=str(payload.event_type),
        title=event.title,
        start=_in_time(event.start, start, event.time_zone),
        end=_in_time(event.end, end, event.time_zone),
    )


def _in_time(moment: date, text: str, zone: str | None) -> str:
    """The moment in the binding's column, a point in time; where only Google knows the zone, it is taken as UTC."""
    if not isinstance(moment, datetime) or moment.tzinfo is not None:
        return text
    try:
        return moment.replace(tzinfo=ZoneInfo(zone or "UTC")).isoformat()
    except (OSError, ValueError, LookupError):  # what ZoneInfo raises for names that it does not know, or are none
        return moment.replace(tzinfo=UTC).isoformat()


def _died(item: Item, work: SyncIntent, dead: Dead) -> Settlement:
    settlement = _dead(item, dead.code, dead.text)
    if dead.written is not None:
        done = _done(item, work, dead.written)
        return replace(done, status="DEAD_LETTER", failure_code=dead.code, last_error=dead.text)
    if dead.code is FailureCode.EVENT_GONE:
        gone = replace(item.memory, event_id=None, calendar_id=None, etag=None)
        return replace(settlement, memory=gone, unbind=True)
    return replace(
        settlement,
        memory=_unseen(item, work, dead) if dead.code is FailureCode.CALENDAR_GONE else _noted(item, work),
        dead_token_version=item.connection.version if dead.connection_invalid else None,
    )


def _unseen(item: Item, work: SyncIntent, dead: Dead) -> SourceState | None:
    """The memory after a calendar could not be seen: a cancel writes nothing, but may have removed something."""
    if not isinstance(work.payload, Cancel):
        return _noted(item, work) if dead.scope is Scope.ITEM else None
    return None if item.memory.reopen else replace(item.memory, reopen=True)


def _dead(item: Item, code: FailureCode, reason: str) -> Settlement:
    moves_floor = item.operation == Operation.CANCEL_EVENT or code not in _CONTENT
    return Settlement(
        item,
        "DEAD_LETTER",
        item.attempts,
        failure_code=code,
        last_error=reason,
        moves_floor=moves_floor and not item.is_child,
    )


def _again(
    item: Item, work: SyncIntent, retry: Retry, *, answered: Answered, random: float, ceiling: int
) -> Settlement:
    memory = _noted(item, work)
    after = min(retry.after or 0.0, HOLD_CAP) if retry.scope is Scope.ALL else retry.after
    cap = REBUILD_CAP if isinstance(work.payload, Rebuild) else ITEM_CAP
    pause = backoff(item.attempts + 1, random=random, cap=cap, retry_after=after)
    if not _counts(item, retry, answered):
        if isinstance(work.payload, Rebuild):
            pause += min(max(item.age, 0.0), REBUILD_CAP) * (1 if retry.scope is Scope.ITEM and not retry.outage else 2)
        return Settlement(item, "PENDING", item.attempts, pause, last_error=retry.text, memory=memory)
    attempts = item.attempts + 1
    if attempts < min(item.max_attempts, ceiling):
        return Settlement(item, "FAILED", attempts, pause, last_error=retry.text, memory=memory)
    exhausted = _dead(item, FailureCode.EXHAUSTED, retry.text)
    return replace(exhausted, attempts=min(attempts, item.max_attempts), memory=memory)


def _counts(item: Item, retry: Retry, answered: Answered) -> bool:
    if retry.kind is RetryKind.QUOTA:
        return item.age > AGE_BOUND
    return retry.counts and (not retry.outage or answered.suffices(retry.scope))


def _noted(item: Item, work: SyncIntent) -> SourceState | None:
    """The memory with a note of an attempt of unknown outcome; None where the memory has that note already."""
    memory = item.memory
    if isinstance(work.payload, Rebuild | PruneTarget):
        return None
    calendar_id = work.payload.calendar_id
    known = memory.possible_calendars
    possible = known if calendar_id in known else (*known, calendar_id)
    noted = replace(
        memory, possible_calendars=possible, reopen=memory.reopen or isinstance(work.payload, Cancel) or work.recreate
    )
    return None if noted == memory else noted


def blame_one(retries: Sequence[Retry]) -> list[Retry]:
    """The retries of one request, changed so that a failure of the whole lane counts against one item only.

    What fails for a lane and counts is the token endpoint: it was asked once, for all items of the request.
    """
    blamed = False
    fair: list[Retry] = []
    for retry in retries:
        common = retry.counts and retry.scope is not Scope.ITEM
        fair.append(replace(retry, counts=False) if common and blamed else retry)
        blamed |= common
    return fair


def release(item: Item) -> Settlement:
    """Release an item for which nothing was sent."""
    return Settlement(item, "PENDING", item.attempts)
