"""Why an event is in its calendar or is not, as one cause: a table, read from the top, the first row that fits decides.

The order is that of the journey (docs/architecture.md). First the newest state that waits, and what a claim asks of it:
its floor, who has it, the connection, the brake, a replica that claims, the workspace's rebuild, its time. Then, where
nothing waits, how the newest state ended. Then what is remembered, compared with what Google holds (if it was asked)
and with what the application wants. At last, where nothing is left, what the application wants alone.

So a cause is what has to go before anything else can matter. Who mends it and asks again meets the next one.
"""

from collections.abc import Callable
from dataclasses import dataclass

from reactor.core.explain.causes import Cause, Explanation
from reactor.core.explain.chain import Chain, Custody, OutboxRow, Presence
from reactor.core.explain.seen import EventPresence
from reactor.core.explain.wording import words
from reactor.core.outcome import FailureCode

HANGS = 60.0
"""Seconds that an item is in hand, or due, before it is worth a word; it takes milliseconds."""


@dataclass(frozen=True, slots=True)
class _CauseRule:
    cause: Cause
    fits: Callable[[Chain], object]
    verdict: str
    remedy: str


def _row(fits: Callable[[Chain, OutboxRow], object]) -> Callable[[Chain], object]:
    """A condition on the newest state that waits."""
    return lambda chain: chain.row and fits(chain, chain.row)


def _died(code: FailureCode | None) -> Callable[[Chain], object]:
    return lambda chain: chain.letter and code in (chain.letter.code, None)


def _seen(sight: EventPresence) -> Callable[[Chain], object]:
    return lambda chain: chain.place and chain.seen and chain.seen.sight is sight


_SHOW = "`python -m reactor dead-letters show {letter}`"
_REQUEUE = "`python -m reactor dead-letters requeue --id {letter}`"
_REBUILD = "`python -m reactor rebuild --workspace {workspace}`"
_CONNECT = "`python -m reactor connect --workspace {workspace} --calendar …`"
_BY_ITSELF = "Nothing is to be done"

_RULES: tuple[_CauseRule, ...] = (
    _CauseRule(
        Cause.OUTDATED,
        _row(lambda chain, row: row.seq < chain.floor and row.hands is None),
        "{what}: its place in the order, {seq}, is below {floor}, up to which its source is settled, so it is put away "
        "as SUPERSEDED and never sent.",
        "If the calendar shows the newer state, nothing is to be done. If this row is the newer one, `sync_outbox_seq` "
        "has fallen back: see `python -m reactor check`, then " + _REBUILD + ".",
    ),
    _CauseRule(
        Cause.HANGS,
        _row(lambda _, row: row.hands is Custody.REACTOR and row.session and row.session.seconds > HANGS),
        "{what}: {session} has had it in hand for {held}, where an item takes seconds.",
        "Look whether Google answers; if that replica hangs, `select pg_terminate_backend({pid})` frees the item.",
    ),
    _CauseRule(
        Cause.IN_HAND,
        _row(lambda _, row: row.hands is Custody.REACTOR),
        "{what}: it is being sent at this moment, by {session}.",
        "Ask again in a few seconds.",
    ),
    _CauseRule(
        Cause.WORKER_GONE,
        _row(lambda _, row: row.hands is Custody.LOST),
        "{what}: its worker is gone, and the next sweep of a replica makes it due again.",
        "Ask again in some ten seconds; if it stays so, no replica runs: `python -m reactor status`.",
    ),
    _CauseRule(
        Cause.OLDER_WORKER,
        _row(lambda _, row: row.hands is Custody.OLDER),
        "{what}: an older worker has marked it PROCESSING and holds no lock on it.",
        "It is taken over ten minutes after it was marked; if it stays, see `python -m reactor locks`.",
    ),
    _CauseRule(
        Cause.UNCONNECTED,
        _row(lambda chain, _: chain.connection is None),
        "{what}: the workspace has no connection to Google, so its rows wait.",
        "Connect it: " + _CONNECT + "; what waits is then sent by itself.",
    ),
    _CauseRule(
        Cause.DISCONNECTED,
        _row(lambda chain, _: chain.connection and not chain.connection.is_valid),
        "{what}: the workspace's connection is marked invalid, so its rows wait.",
        "Connect it again: " + _CONNECT + ", or `python -m reactor connections enable --workspace {workspace}` if a "
        "person has disabled it; what waits is then sent by itself.",
    ),
    _CauseRule(
        Cause.BRAKED,
        _row(lambda chain, _: chain.stop),
        "{what}: the brake has stopped the workspace, because {deletes} of its {events} events were about to be "
        "deleted.",
        "Ask who deleted them. If it is meant, `python -m reactor brake release --workspace {workspace}`; if not, mend "
        "the application's data first (docs/architecture.md, The brake).",
    ),
    _CauseRule(
        Cause.NO_REPLICA,
        _row(lambda chain, _: not chain.replicas.count),
        "{what}: it waits, and no replica of the reactor is connected to this database.",
        "Start one: `python -m reactor`; if one should run, its log and `python -m reactor check` say why it does not.",
    ),
    _CauseRule(
        Cause.REFUSED,
        _row(lambda chain, _: chain.replicas.sqlstate),
        "{what}: it waits, and the database refuses a replica its work (SQLSTATE {refused}).",
        "About the database: {refused_advice}.",
    ),
    _CauseRule(
        Cause.CLAIMS_BLOCKED,
        _row(lambda chain, _: chain.replicas.blocker),
        "{what}: it waits, and {blocker} keeps the lock that every claim needs, so nothing at all is claimed.",
        "End that transaction: `python -m reactor locks` names it, `select pg_terminate_backend(pid)` ends it.",
    ),
    _CauseRule(
        Cause.SET_ASIDE,
        _row(lambda _, row: row.is_aside),
        "{what}: the database refuses to change its row (SQLSTATE {sqlstate}), so it is set aside and tried again in "
        "{retry}.",
        "About the database: {advice}.",
    ),
    _CauseRule(
        Cause.EARLIER_IN_HAND,
        lambda chain: any(row.hands for row in chain.rows),
        "{what}: an earlier state of the same source is being sent, and this one waits for its end.",
        "Ask again in a few seconds; who has the earlier one is told below and by `python -m reactor locks`.",
    ),
    _CauseRule(
        Cause.REBUILDING,
        lambda chain: chain.row and chain.rebuild and chain.rebuild.hands,
        "{what}: rebuild {rebuild} of its workspace is under way, and goes first.",
        "Ask again in a while; `python -m reactor status --rebuild {rebuild}` says how far it is.",
    ),
    _CauseRule(
        Cause.BEHIND_REBUILD,
        lambda chain: chain.row and chain.rebuild and chain.rebuild.is_due and not chain.rebuild.is_aside,
        "{what}: rebuild {rebuild} of its workspace is due, and goes first as soon as nothing of the workspace is in "
        "hand.",
        "Ask again in a while; `python -m reactor locks` names what is in hand.",
    ),
    _CauseRule(
        Cause.NEVER_DUE,
        _row(lambda _, row: row.due_in is None),
        "{what}: its next_attempt_at is infinite or null, so it is never due.",
        "Set a time: `update sync_outbox set next_attempt_at = now() where id = '{item}'`, and mend what wrote it so.",
    ),
    _CauseRule(
        Cause.BACKING_OFF,
        _row(lambda _, row: not row.is_due and row.status == "FAILED"),
        "{what}: {attempts} of {most} attempts failed, the last one because of: {error}; the next one is in {due}.",
        "Mend the reason if it is on this side; it is tried again by itself, and is a dead letter after the last "
        "attempt.",
    ),
    _CauseRule(
        Cause.HELD,
        _row(lambda _, row: not row.is_due and row.error),
        "{what}: it was given back, because of: {error}; it is due again in {due}, and no attempt was counted.",
        "Wait, or mend the reason if it is on this side (docs/operations.md); it is tried again by itself.",
    ),
    _CauseRule(
        Cause.POSTPONED,
        _row(lambda _, row: not row.is_due),
        "{what}: it is not due yet, but in {due}.",
        "Look who wrote its next_attempt_at; to send it now, set that to now().",
    ),
    _CauseRule(
        Cause.LOCKED,
        _row(lambda _, row: row.session),
        "{what}: it is due, and a transaction of {session} has locked its row, for {held}.",
        "End that transaction, or wait for its end: `select pg_terminate_backend({pid})`.",
    ),
    _CauseRule(
        Cause.DELAYED,
        _row(lambda _, row: (row.due_in or 0.0) < -HANGS),
        "{what}: it has been due for {since}, with {ahead} of its workspace before it; replicas run, so its workspace "
        "is held back or they have more to do than they can{met}.",
        "Look what others of the workspace met, and at the replicas' `reactor_lanes` and "
        "`reactor_rate_limited_total` (docs/operations.md, Who is in the way).",
    ),
    _CauseRule(
        Cause.DUE,
        _row(lambda *_: True),
        "{what}: it is due, with {ahead} of its workspace before it, and a replica takes it in its turn{met}.",
        "Ask again in a few seconds.",
    ),
    _CauseRule(
        Cause.AUTH,
        _died(FailureCode.AUTH),
        "{fate} AUTH: {error}.",
        "Connect the workspace again: " + _CONNECT + "; the dead letter is then put back by itself.",
    ),
    _CauseRule(
        Cause.BAD_PAYLOAD,
        _died(FailureCode.BAD_PAYLOAD),
        "{fate} BAD_PAYLOAD, because its row is not what the contract says: {error}.",
        "Mend what writes the row (" + _SHOW + " names the fields); the next change of the source is sent as usual.",
    ),
    _CauseRule(
        Cause.BAD_REQUEST,
        _died(FailureCode.BAD_REQUEST),
        "{fate} BAD_REQUEST: {error}.",
        "Mend the event's content in the application (" + _SHOW + "); the next change of the source is sent as usual.",
    ),
    _CauseRule(
        Cause.EVENT_GONE,
        _died(FailureCode.EVENT_GONE),
        "{fate} EVENT_GONE: a person deleted the event in the calendar, and that is respected.",
        "If it should come back: " + _REBUILD + ".",
    ),
    _CauseRule(
        Cause.CALENDAR_GONE,
        _died(FailureCode.CALENDAR_GONE),
        "{fate} CALENDAR_GONE: {error}.",
        "Have the calendar shared with the account again, or connect another one; then " + _REQUEUE + ".",
    ),
    _CauseRule(
        Cause.FORBIDDEN,
        _died(FailureCode.FORBIDDEN),
        "{fate} FORBIDDEN: {error}.",
        "Have the calendar shared with the right to make changes; then " + _REQUEUE + ".",
    ),
    _CauseRule(
        Cause.EXHAUSTED,
        _died(FailureCode.EXHAUSTED),
        "{fate} EXHAUSTED after {attempts} attempts, the last one because of: {error}.",
        "Mend the reason; then " + _REQUEUE + ".",
    ),
    _CauseRule(
        Cause.WORKER_LOST,
        _died(FailureCode.WORKER_LOST),
        "{fate} WORKER_LOST: its worker died with it in hand, as often as attempts are allowed.",
        "Find what kills the worker (memory?); then " + _REQUEUE + ".",
    ),
    _CauseRule(
        Cause.DIED,
        _died(None),
        "{fate} without a code that is known ({error}), so an older worker or a person gave it up.",
        "Look at it: " + _SHOW + "; then " + _REQUEUE + ".",
    ),
    _CauseRule(
        Cause.STRAY,
        lambda chain: chain.finished and ":" not in chain.source,
        "The item is about no source: it was an extra event that a rebuild found and removed.",
        _BY_ITSELF + ".",
    ),
    _CauseRule(
        Cause.UNREMEMBERED,
        lambda chain: chain.place is None and chain.is_shown,
        "Google shows the event, and nothing here remembers that it does: a request was carried out whose end was not "
        "written, or the database is an older one than the calendar (a restored backup).",
        "Have everything compared: " + _REBUILD + ".",
    ),
    _CauseRule(
        Cause.REVERSED,
        lambda chain: chain.is_cancelled and chain.wanted.wish is Presence.YES,
        "The event was removed, as the application's last row asked, but its view calendar_source_events wants it.",
        "Make the view and the triggers agree; " + _REBUILD + " brings the event back.",
    ),
    _CauseRule(
        Cause.CANCELLED,
        lambda chain: chain.is_cancelled,
        "The event was removed from the calendar, because the application asked for that.",
        _BY_ITSELF + "; when the application asks for the event again, it comes back.",
    ),
    _CauseRule(
        Cause.UNWANTED,
        lambda chain: chain.place and chain.wanted.wish is Presence.NO,
        "The event is in the calendar, and the application's view calendar_source_events does not have it: no row has "
        "asked for its removal.",
        "Look at the application's triggers; " + _REBUILD + " removes what the view does not have.",
    ),
    _CauseRule(
        Cause.ELSEWHERE,
        lambda chain: chain.place and (chain.wanted.calendar_id or chain.place.calendar_id) != chain.place.calendar_id,
        "The event is in another calendar than the application's view wants now.",
        "Move what is there: " + _REBUILD + ".",
    ),
    _CauseRule(
        Cause.OTHER_CALENDAR,
        lambda chain: (
            chain.place
            and chain.wanted.wish is Presence.UNKNOWN
            and chain.connection
            and chain.connection.calendar_id != chain.place.calendar_id
        ),
        "The event is in another calendar than the one that the workspace is connected to now.",
        "Look there; if that calendar was replaced, " + _REBUILD + " moves what is in it.",
    ),
    _CauseRule(
        Cause.DELETED,
        _seen(EventPresence.DELETED),
        "The event was written, and Google holds it as deleted: a person removed it in the calendar.",
        "If it should come back: " + _REBUILD + ".",
    ),
    _CauseRule(
        Cause.MISSING,
        _seen(EventPresence.MISSING),
        "The event was written, and Google does not know it any more, or does not show its calendar to this account.",
        "Look whether the account sees the calendar; then " + _REBUILD + ".",
    ),
    _CauseRule(
        Cause.FOREIGN,
        _seen(EventPresence.FOREIGN),
        "Google holds something else under the event's id: its marks are not those of this source.",
        "Have the events compared and made anew: " + _REBUILD + ".",
    ),
    _CauseRule(
        Cause.UNSEEN,
        _seen(EventPresence.REFUSED),
        "The event was written, as far as is remembered, but Google does not show it now: {problem}.",
        "Mend that reason (docs/operations.md, Failure codes), and ask again.",
    ),
    _CauseRule(
        Cause.STALE,
        lambda chain: chain.place and chain.seen and chain.seen.seq is not None and chain.seen.seq < chain.floor,
        "Google shows an older state of the event, {shown}, than the one up to which its source is settled, {floor}.",
        "Have it written anew: " + _REBUILD + ".",
    ),
    _CauseRule(
        Cause.SHOWN,
        lambda chain: chain.place and chain.seen,
        "The event is in the calendar: Google shows it.",
        _BY_ITSELF + "; where a person does not see it, look which calendar they look at, and for its time.",
    ),
    _CauseRule(
        Cause.APPLIED,
        lambda chain: chain.place,
        "The event is in the calendar, as far as is remembered: its newest state was applied.",
        "If a person does not see it, ask Google too: `--google`.",
    ),
    _CauseRule(
        Cause.GIVEN_UP,
        lambda chain: chain.memory,
        "The event is in no calendar that is known: its last state was given up, and the row that said why is gone.",
        "Change the source once more, or " + _REBUILD + ".",
    ),
    _CauseRule(
        Cause.FORGOTTEN,
        lambda chain: chain.finished,
        "The source's last row was completed, and nothing is remembered of an event.",
        "Have everything compared: " + _REBUILD + ".",
    ),
    _CauseRule(
        Cause.NEVER_CONNECTED,
        lambda chain: chain.wanted.wish is Presence.YES and chain.connection is None,
        "The application wants the event, but its workspace has no connection to Google, and no row waits.",
        "Connect it: " + _CONNECT + "; then " + _REBUILD + ".",
    ),
    _CauseRule(
        Cause.NEVER_ASKED,
        lambda chain: chain.wanted.wish is Presence.YES,
        "The application wants the event, but no row of the outbox has ever asked for it, as far as rows are kept.",
        "Send what the application wants now: " + _REBUILD + "; if this happens again, look at the application's "
        "triggers.",
    ),
    _CauseRule(
        Cause.NOT_WANTED,
        lambda chain: chain.wanted.wish is Presence.NO,
        "The application does not want this event: its view calendar_source_events does not have it, and there was "
        "never a row for it.",
        "If it should be there, look in the application: is there a date, is it open, is it of this workspace?",
    ),
    _CauseRule(
        Cause.UNKNOWN,
        lambda _: True,
        "Nothing is known of this source: no row asks for it, nothing is remembered, and what the application wants "
        "cannot be read ({unread}).",
        "Look for the id in the application, and whether its trigger inserts into sync_outbox.",
    ),
)


def explain(chain: Chain) -> Explanation:
    """Say why the event is in its calendar, or why not, and what to do."""
    rule = next(rule for rule in _RULES if rule.fits(chain))
    named = words(chain)
    return Explanation(rule.cause, rule.verdict.format_map(named), rule.remedy.format_map(named))
