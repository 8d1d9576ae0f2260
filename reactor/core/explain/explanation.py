"""Finds the one cause why an event is in its calendar or is not.

A table is read from the top, and the first row that fits decides. The rows are in the order of an item's journey
(docs/architecture.md). First comes the newest state that waits, and what a claim asks of it: its floor, which worker
has claimed it, the connection, the brake, a replica that claims, the workspace's rebuild, its time. Then, where nothing
waits, how the newest state ended. Then what is remembered, compared with what Google holds (if it was asked) and with
what the application wants. Last, where nothing is left, only what the application wants.

So the cause is what a person has to correct first. After that, the same question finds the next one.
"""

from collections.abc import Callable
from dataclasses import dataclass

from reactor.core.explain.causes import Cause, Explanation
from reactor.core.explain.chain import Chain, Custody, OutboxRow, ViewPresence
from reactor.core.explain.seen import EventPresence
from reactor.core.explain.wording import placeholders
from reactor.core.outcome import FailureCode
from reactor.core.payload import Operation

HANGS = 60.0
"""Seconds that an item is in flight, or due, before that is worth a sentence; it takes milliseconds."""


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
    return lambda chain: chain.dead_letter and code in (chain.dead_letter.code, None)


def _seen(presence: EventPresence) -> Callable[[Chain], object]:
    return lambda chain: chain.place and chain.seen and chain.seen.presence is presence


_RULES: tuple[_CauseRule, ...] = (
    _CauseRule(
        Cause.OUTDATED,
        _row(lambda chain, row: row.seq < chain.floor and row.custody is None),
        "{what}: this row is too old (its place in the order is {seq}, its source is settled up to {floor}), so the "
        "reactor ends it as SUPERSEDED and never sends it.",
        "If the calendar shows the newer state, nothing is to be done. Else `sync_outbox_seq` has fallen back (a "
        "restored backup?): see `python -m reactor check`, then run {to_rebuild}.",
    ),
    _CauseRule(
        Cause.HANGS,
        _row(lambda _, row: row.custody is Custody.REACTOR and row.session and (row.session.seconds or 0.0) > HANGS),
        "{what}: {session} has been sending it for {held}; an item takes seconds.",
        "Look whether Google answers. If that replica hangs, end its session, and another replica takes the item: "
        "`select pg_terminate_backend({pid})`.",
    ),
    _CauseRule(
        Cause.IN_HAND,
        _row(lambda _, row: row.custody is Custody.REACTOR),
        "{what}: it is being sent at this moment, by {session}.",
        "Ask again in a few seconds.",
    ),
    _CauseRule(
        Cause.WORKER_GONE,
        _row(lambda _, row: row.custody is Custody.LOST),
        "{what}: the worker that was sending it has ended; the next sweep of a replica makes it due again.",
        "Ask again in ten seconds. If it stays so, no replica runs: see `python -m reactor status`.",
    ),
    _CauseRule(
        Cause.OLDER_WORKER,
        _row(lambda _, row: row.custody is Custody.OLDER),
        "{what}: an older worker has marked it PROCESSING, and holds no lock on it.",
        "The reactor takes it over ten minutes after it was marked. If it stays so, see `python -m reactor locks`.",
    ),
    _CauseRule(
        Cause.UNCONNECTED,
        _row(lambda chain, _: chain.connection is None),
        "{what}: the workspace has no connection to Google, so its items wait.",
        "Connect it: {to_connect}. Then the reactor sends what waits.",
    ),
    _CauseRule(
        Cause.DISCONNECTED,
        _row(lambda chain, _: chain.connection and not chain.connection.is_valid),
        "{what}: the workspace's connection is marked invalid, because Google refused its credential or a person "
        "disabled it, so its items wait.",
        "Connect it again: {to_connect}; if a person disabled it, `python -m reactor connections enable --workspace "
        "{workspace}`. Then the reactor sends what waits.",
    ),
    _CauseRule(
        Cause.BRAKED,
        _row(lambda chain, _: chain.stop),
        "{what}: the brake has stopped the workspace, because {deletes} of its {events} events would be deleted.",
        "Ask the application's users who deleted them. If the deletes are intended, `python -m reactor brake release "
        "--workspace {workspace}`. If not, restore the application's data first (docs/operations.md, When a workspace "
        "is stopped).",
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
        "{what}: it waits, and the database refuses a replica's statements (SQLSTATE {refused}).",
        "About the database: {refused_advice}.",
    ),
    _CauseRule(
        Cause.CLAIMS_BLOCKED,
        _row(lambda chain, _: chain.replicas.blocker),
        "{what}: it waits, and {blocker} holds the lock that every claim needs, so no replica can take any item.",
        "End that transaction (`python -m reactor locks` shows whose): `select pg_terminate_backend({blocker_pid})`.",
    ),
    _CauseRule(
        Cause.SET_ASIDE,
        _row(lambda _, row: row.is_aside),
        "{what}: the database refuses to change its row (SQLSTATE {sqlstate}), so the reactor leaves it alone, and "
        "tries it again in {retry}.",
        "About the database: {advice}.",
    ),
    _CauseRule(
        Cause.EARLIER_IN_HAND,
        lambda chain: any(row.custody for row in chain.rows),
        "{what}: an earlier state of the same source is being sent, and this one is sent after it.",
        "Ask again in a few seconds; `python -m reactor locks` shows which session sends the earlier one.",
    ),
    _CauseRule(
        Cause.REBUILDING,
        lambda chain: chain.row and chain.rebuild and chain.rebuild.custody,
        "{what}: rebuild {rebuild} of its workspace is under way, and goes first.",
        "Ask again in a minute; `python -m reactor status --rebuild {rebuild}` shows how far it is.",
    ),
    _CauseRule(
        Cause.BEHIND_REBUILD,
        lambda chain: chain.row and chain.rebuild and chain.rebuild.is_due and not chain.rebuild.is_aside,
        "{what}: rebuild {rebuild} of its workspace is due; it goes first, once no item of the workspace is in flight.",
        "Ask again in a minute; `python -m reactor locks` shows the items in flight.",
    ),
    _CauseRule(
        Cause.NEVER_DUE,
        _row(lambda _, row: row.due_in is None),
        "{what}: its next_attempt_at is infinite or null, so it is never due.",
        "Set a time: `update sync_outbox set next_attempt_at = now() where id = '{item}'`. Correct the program that "
        "wrote it.",
    ),
    _CauseRule(
        Cause.BACKING_OFF,
        _row(lambda _, row: not row.is_due and row.status == "FAILED"),
        "{what}: {attempts} of at most {most} attempts failed, the last one because of: {error}; the next one is in "
        "{due}.",
        "If the reason is on your side, correct it (docs/operations.md). The reactor tries again by itself; after "
        "the last attempt the item is a dead letter.",
    ),
    _CauseRule(
        Cause.HELD,
        _row(lambda _, row: not row.is_due and row.error),
        "{what}: it could not be sent, because of: {error}; it is due again in {due}, and no attempt was counted.",
        "Wait, or correct the reason if it is on your side (docs/operations.md). The reactor tries again by itself.",
    ),
    _CauseRule(
        Cause.POSTPONED,
        _row(lambda _, row: not row.is_due),
        "{what}: its next_attempt_at lies ahead, so it is due in {due}.",
        "Look which program wrote that time. To send it now: `update sync_outbox set next_attempt_at = now() where "
        "id = '{item}'`.",
    ),
    _CauseRule(
        Cause.LOCKED,
        _row(lambda _, row: row.session),
        "{what}: it is due, and a transaction of {session} has locked its row{for_long}.",
        "End that transaction, or wait for its end: `select pg_terminate_backend({pid})`.",
    ),
    _CauseRule(
        Cause.DELAYED,
        _row(lambda _, row: (row.due_in or 0.0) < -HANGS),
        "{what}: it has been due for {since}, {ahead}. Replicas run: its workspace waits for its quota or is held "
        "back, or they have too much to do{met}.",
        "Ask again in a minute: where fewer items are before it, it moves, as fast as the quota allows. Else look at "
        "`reactor_lanes` and `reactor_rate_limited_total` (docs/operations.md, Where to look first).",
    ),
    _CauseRule(
        Cause.DUE,
        _row(lambda *_: True),
        "{what}: it is due, {ahead}, and a replica takes it in its turn{met}.",
        "Ask again in a few seconds.",
    ),
    _CauseRule(
        Cause.UNREMEMBERED,
        lambda chain: (
            chain.dead_letter
            and chain.dead_letter.operation == Operation.UPSERT_EVENT
            and chain.shows(chain.dead_letter)
        ),
        "Google shows the event in its newest state, but its item is a dead letter, because of: {error}.",
        "The request was carried out all the same. Put the item back, and the reactor finds the event: {to_requeue}.",
    ),
    _CauseRule(
        Cause.AUTH,
        _died(FailureCode.AUTH),
        "{fate} AUTH: {error}.",
        "Connect the workspace again: {to_connect}. Then the reactor puts the dead letter back by itself.",
    ),
    _CauseRule(
        Cause.BAD_PAYLOAD,
        _died(FailureCode.BAD_PAYLOAD),
        "{fate} BAD_PAYLOAD, because its row is not what the contract says: {error}.",
        "Correct the program that writes the row ({to_show} names the fields). The next change of the source is sent "
        "as usual.",
    ),
    _CauseRule(
        Cause.BAD_REQUEST,
        _died(FailureCode.BAD_REQUEST),
        "{fate} BAD_REQUEST: {error}.",
        "Correct the event's content in the application (see {to_show}). The source's next change is sent as usual.",
    ),
    _CauseRule(
        Cause.EVENT_GONE,
        _died(FailureCode.EVENT_GONE),
        "{fate} EVENT_GONE: a person deleted the event in the calendar, and that is respected.",
        "If it should come back: {to_rebuild}.",
    ),
    _CauseRule(
        Cause.CALENDAR_GONE,
        _died(FailureCode.CALENDAR_GONE),
        "{fate} CALENDAR_GONE: {error}.",
        "Have the calendar shared with the account again, or connect another one; then {to_requeue}.",
    ),
    _CauseRule(
        Cause.FORBIDDEN,
        _died(FailureCode.FORBIDDEN),
        "{fate} FORBIDDEN: {error}.",
        "Have the calendar shared with the right to make changes; then {to_requeue}.",
    ),
    _CauseRule(
        Cause.EXHAUSTED,
        _died(FailureCode.EXHAUSTED),
        "{fate} EXHAUSTED after {attempts} attempts, the last one because of: {error}.",
        "Correct the reason; then {to_requeue}.",
    ),
    _CauseRule(
        Cause.WORKER_LOST,
        _died(FailureCode.WORKER_LOST),
        "{fate} WORKER_LOST: the worker died while it sent the item, as often as attempts are allowed.",
        "Find out what ends the worker (memory?); then {to_requeue}.",
    ),
    _CauseRule(
        Cause.DIED,
        _died(None),
        "{fate} without a code that is known ({error}): an older worker or a person gave it up.",
        "Look at it: {to_show}; then {to_requeue}.",
    ),
    _CauseRule(
        Cause.STRAY,
        lambda chain: chain.finished and ":" not in chain.source,
        "This item belongs to no source: a rebuild found an extra event and removed it.",
        "Nothing is to be done.",
    ),
    _CauseRule(
        Cause.UNREMEMBERED,
        lambda chain: chain.place is None and chain.is_shown,
        "Google shows the event, and the database does not remember it: the end of a request was not written, or the "
        "database is older than the calendar (a restored backup).",
        "Compare and correct the workspace: {to_rebuild}.",
    ),
    _CauseRule(
        Cause.REVERSED,
        lambda chain: chain.is_cancelled and chain.wanted.presence is ViewPresence.YES,
        "The event was removed, as the application's last row asked, but the application's view "
        "calendar_source_events has it.",
        "Make the view and the triggers agree; {to_rebuild} brings the event back.",
    ),
    _CauseRule(
        Cause.CANCELLED,
        lambda chain: chain.is_cancelled,
        "The event was removed from the calendar, because the application asked for that.",
        "Nothing is to be done; when the application asks for the event again, it comes back.",
    ),
    _CauseRule(
        Cause.UNWANTED,
        lambda chain: chain.place and chain.wanted.presence is not ViewPresence.YES and chain.connection is None,
        "The event is in the calendar, as far as the database remembers, and its workspace has no connection to "
        "Google any more, so the reactor leaves it.",
        "Delete it in the calendar by hand, or connect the workspace again: {to_connect}; then {to_rebuild}.",
    ),
    _CauseRule(
        Cause.UNWANTED,
        lambda chain: chain.place and chain.wanted.presence is ViewPresence.NO,
        "The event is in the calendar, but the application's view calendar_source_events does not have it: no row "
        "has asked for its removal.",
        "Look at the application's triggers; {to_rebuild} removes what the view does not have.",
    ),
    _CauseRule(
        Cause.ELSEWHERE,
        lambda chain: chain.place and (chain.wanted.calendar_id or chain.place.calendar_id) != chain.place.calendar_id,
        "The event is in another calendar than the application's view wants now.",
        "Move what is there: {to_rebuild}.",
    ),
    _CauseRule(
        Cause.OTHER_CALENDAR,
        lambda chain: chain.wanted.presence is ViewPresence.UNKNOWN and chain.is_outside_connection,
        "The event is in another calendar than the one that the workspace is connected to now.",
        "Look there; if that calendar was replaced, {to_rebuild} moves what is in it.",
    ),
    _CauseRule(
        Cause.DELETED,
        _seen(EventPresence.DELETED),
        "The event was written, and Google holds it as deleted: a person removed it in the calendar.",
        "If it should come back: {to_rebuild}.",
    ),
    _CauseRule(
        Cause.MISSING,
        _seen(EventPresence.MISSING),
        "The event was written, and Google does not know it any more, or does not show its calendar to this account.",
        "Look whether the account sees the calendar; then {to_rebuild}.",
    ),
    _CauseRule(
        Cause.FOREIGN,
        _seen(EventPresence.FOREIGN),
        "Google has another event under this event's id: its marks are not those of this source.",
        "Compare and correct the workspace: {to_rebuild}.",
    ),
    _CauseRule(
        Cause.UNSEEN,
        _seen(EventPresence.REFUSED),
        "The event was written, as far as the database remembers, but Google does not show it now: {problem}.",
        "Correct that reason (docs/operations.md, Failure codes), and ask again.",
    ),
    _CauseRule(
        Cause.STALE,
        lambda chain: chain.place and chain.seen and chain.seen.seq is not None and chain.seen.seq < chain.floor,
        "Google shows an older state of the event, {shown}, than the newest one that was settled, {floor}.",
        "Write it again: {to_rebuild}.",
    ),
    _CauseRule(
        Cause.SHOWN,
        lambda chain: chain.place and chain.seen,
        "The event is in the calendar: Google shows it.",
        "Nothing is to be done. If a person does not see it, look which calendar and which day they look at.",
    ),
    _CauseRule(
        Cause.APPLIED,
        lambda chain: chain.place,
        "The event is in the calendar, as far as the database remembers: its newest state was applied.",
        "If a person does not see it, ask Google too: add `--google`.",
    ),
    _CauseRule(
        Cause.GIVEN_UP,
        lambda chain: chain.memory,
        "The event is in no known calendar: its last state was a dead letter, and that row is deleted by now.",
        "Change the source once more, or {to_rebuild}.",
    ),
    _CauseRule(
        Cause.FORGOTTEN,
        lambda chain: chain.finished,
        "The source's last row was completed, and the database remembers no event of it.",
        "Compare and correct the workspace: {to_rebuild}.",
    ),
    _CauseRule(
        Cause.NEVER_CONNECTED,
        lambda chain: chain.wanted.presence is not ViewPresence.UNKNOWN and chain.connection is None,
        "The event's workspace has no connection to Google, and no row waits.",
        "Connect it: {to_connect}; then {to_rebuild}.",
    ),
    _CauseRule(
        Cause.NEVER_ASKED,
        lambda chain: chain.wanted.presence is ViewPresence.YES,
        "The application wants the event, but no row of the outbox has asked for it, as far as rows are kept.",
        "Send what the application wants now: {to_rebuild}. If this happens again, look at the application's triggers.",
    ),
    _CauseRule(
        Cause.NOT_WANTED,
        lambda chain: chain.wanted.presence is ViewPresence.NO,
        "The application does not want this event: its view calendar_source_events does not have it, and no row asks.",
        "If it should be there, look in the application: does it have a date, is it open, is it in this workspace?",
    ),
    _CauseRule(
        Cause.UNKNOWN,
        lambda _: True,
        "Nothing is known of this source: no row asks for it, the database remembers no event, and what the "
        "application wants cannot be read ({unread}).",
        "Look for the id in the application, and whether its trigger inserts into sync_outbox.",
    ),
)


def explain(chain: Chain) -> Explanation:
    """Say why the event is in its calendar, or why not, and what to do."""
    rule = next(rule for rule in _RULES if rule.fits(chain))
    named = placeholders(chain)
    return Explanation(rule.cause, rule.verdict.format_map(named), rule.remedy.format_map(named))
