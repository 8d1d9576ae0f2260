"""Checks the database: whether it can be reached, has what the service needs, and lets it work."""

from collections.abc import Callable
from datetime import UTC, datetime

import psycopg

from reactor.core.refusals import advice
from reactor.desk.check import stored_tokens
from reactor.desk.check.finding import CheckFinding, CheckVerdict, Findings, Given, clock
from reactor.errors import ConfigurationError, ReactorError, RefusedError
from reactor.postgres.connection.admin import AdminSession, Row, errors_as_sentences, open_admin_session
from reactor.postgres.connection.errors import as_ours
from reactor.postgres.connection.pooler import require_sessions
from reactor.postgres.lock_holders import holders
from reactor.postgres.setup import schema
from reactor.postgres.statements import statements
from reactor.rebuild import GRANTS
from reactor.settings import DatabaseSettings, Settings

SQL = statements("check")
REBUILDS = statements("rebuilds")
OLDEST_SERVER = 150_000
MANY_LOCKS = 0.25  # of the server's lock table: from here on a busy application may find it full
TOO_MANY_LOCKS = 0.5
CAP = 10_000  # sources that are looked at
REHEARSED = {
    "rehearse_claim": "the claim",
    "rehearse_items": "changes of items",
    "rehearse_children": "items of a rebuild",
    "rehearse_memory": "what was applied last",
    "rehearse_brake": "the brake",
    "rehearse_bindings": "bindings",
    "rehearse_connections": "changes of connections",
}
FLEETING = ("40001", "40P01", "55P03", "57014")  # another session is in the way just now


def findings(given: Given) -> Findings:
    """Look at the connection, the schema, the server, our rights, the order, the replicas and the stored tokens."""
    try:
        dsn = DatabaseSettings.alone(**given).database_url.get_secret_value()
    except ConfigurationError:
        yield CheckFinding("database", CheckVerdict.FAIL, "not looked at: DATABASE_URL is missing or wrong, see above")
        return
    try:
        require_sessions(dsn)
    except ReactorError as error:
        yield CheckFinding("database", CheckVerdict.FAIL, str(error))
        return
    yield CheckFinding("database", CheckVerdict.OK, "reachable, and connections are sessions")
    yield from _guarded("schema", lambda: _schema(dsn))
    try:
        with open_admin_session(dsn, name="check") as admin:
            yield from _server(admin)
            yield from _lock_table(admin, {**given, "database_url": dsn})
            yield from _rights(admin)
            yield from _view(admin)
            yield from _rehearsal(admin)
            yield from _order(admin)
            yield from _replicas(admin)
            yield from stored_tokens.decryption(admin, given)
            yield from stored_tokens.client(admin, given)
    except ReactorError as error:
        yield CheckFinding("database", CheckVerdict.FAIL, str(error))


def _guarded(name: str, look: Callable[[], Findings]) -> Findings:
    try:
        yield from look()
    except ReactorError as error:
        yield CheckFinding(name, CheckVerdict.FAIL, str(error))


def _schema(dsn: str) -> Findings:
    from reactor.postgres.setup.migrations import missing  # noqa: PLC0415  (yoyo takes its time to be imported)

    lacking = missing(dsn)
    if lacking:
        more = f" And {len(lacking) - 5} more." if len(lacking) > 5 else ""
        advice = " Run `python -m reactor migrate` as the owner of the tables."
        yield CheckFinding("schema", CheckVerdict.FAIL, " ".join(lacking[:5]) + more + advice)
    else:
        yield CheckFinding("schema", CheckVerdict.OK, "migrations, indexes, triggers and policies are in place")


def _server(admin: AdminSession) -> Findings:
    before = datetime.now(UTC)
    server = admin.one(SQL["server"])
    middle = before + (datetime.now(UTC) - before) / 2
    if server["version"] < OLDEST_SERVER:
        yield CheckFinding(
            "server", CheckVerdict.FAIL, f"PostgreSQL {server['text']} is too old: 15 or newer is needed"
        )
    else:
        yield CheckFinding("server", CheckVerdict.OK, f"PostgreSQL {server['text']}")
    yield clock("clock, database", server["now"] - middle)
    yield _queue(server)
    if server["is_superuser"]:
        advice = "works, and may do far more than it needs; use a login in the role calendar_sync_reactor"
        yield CheckFinding(
            "role", CheckVerdict.WARN, f"{server['role']} is a superuser: it {advice} (docs/schema.md, Roles)"
        )


def _queue(server: Row) -> CheckFinding:
    share = f"{100 * server['queue']:.0f} % of the server's NOTIFY queue is used"
    advice = "some session listens and leaves a transaction open: end it, or writers' commits will fail"
    if server["queue"] > 0.5:
        return CheckFinding("notify queue", CheckVerdict.FAIL, f"{share}; {advice}")
    if server["queue"] > 0.1:
        return CheckFinding("notify queue", CheckVerdict.WARN, f"{share}; {advice}")
    return CheckFinding("notify queue", CheckVerdict.OK, share)


def _lock_table(admin: AdminSession, given: Given) -> Findings:
    try:
        batch = Settings.alone(**given).calendar_sync_batch_size
    except ConfigurationError:  # said already
        return
    yield _locks_of_a_claim(batch, admin.one(SQL["lock_table"])["slots"])


def _locks_of_a_claim(batch: int, slots: int) -> CheckFinding:
    """Compare the most that the replicas lock together with what the server has room for (docs/scaling.md, Locks)."""
    share = batch / slots
    text = f"a claim locks up to {batch:,} items; the server has room for {slots:,} locks"
    if share <= MANY_LOCKS:
        return CheckFinding("lock table", CheckVerdict.OK, text)
    advice = "lower CALENDAR_SYNC_BATCH_SIZE, or raise the server's max_locks_per_transaction"
    return CheckFinding(
        "lock table", CheckVerdict.FAIL if share > TOO_MANY_LOCKS else CheckVerdict.WARN, f"{text}: {advice}"
    )


def _rights(admin: AdminSession) -> Findings:
    with errors_as_sentences():
        made = {
            "functions": [name for script in schema.migrations() for name in script.functions],
            "sequences": [name for script in schema.migrations() for name in script.sequences],
        }
        missing = [row["missing"] for row in admin.rows(SQL["rights"], **made)]
    if missing:
        advice = "use a login in the role calendar_sync_reactor (docs/schema.md, Roles)"
        yield CheckFinding("rights", CheckVerdict.FAIL, f"the role lacks {'; '.join(missing)}: {advice}")
    else:
        yield CheckFinding("rights", CheckVerdict.OK, "the role may do all that the reactor does")


def _view(admin: AdminSession) -> Findings:
    """Whether the application's own state may be read, where there is one to read."""
    found = admin.one(REBUILDS["source"])
    if not found["is_readable"]:
        says = f"calendar_source_events may not be read, so rebuilds wait. Run: {GRANTS[found['kind']]}"
        yield CheckFinding("rights, view", CheckVerdict.FAIL, says)


def _rehearsal(admin: AdminSession) -> Findings:
    """Run the service's statements and roll them back: a dry run."""
    refused = [found for name, what in REHEARSED.items() if (found := _refused(admin, name, what))]
    yield from refused
    if not refused:
        yield CheckFinding("rehearsal", CheckVerdict.OK, "claims and writes are not refused")


def _refused(admin: AdminSession, name: str, what: str) -> CheckFinding | None:
    try:
        admin.dry_run(SQL[name])
    except psycopg.Error as error:
        refusal = as_ours(error)
    else:
        return None
    if not isinstance(refusal, RefusedError):
        raise refusal
    says = f"the database refuses {what} (SQLSTATE {refusal.sqlstate}): {advice(refusal.sqlstate)}"
    return CheckFinding("rehearsal", CheckVerdict.WARN if refusal.sqlstate in FLEETING else CheckVerdict.FAIL, says)


def _order(admin: AdminSession) -> Findings:
    """Whether the database is, or was, behind what was sent before: nothing is said where it never was.

    Up to `CAP` sources are looked at; the service looks at all of them when it begins.
    """
    with errors_as_sentences():
        found = admin.one(SQL["order"], cap=CAP)
    if found["is_behind"]:
        says = (
            "the sequence sync_outbox_seq is behind what was sent before (a restored backup?): the service mends that"
        )
        yield CheckFinding("order", CheckVerdict.WARN, says)
    elif found["mended"]:
        says = (
            f"was behind what was sent before, and mended: {found['mended']:,} times in 30 days, last {found['last']}"
        )
        more = "; Google shows states that are not known here: does another database serve the same calendars?"
        yield CheckFinding("order", CheckVerdict.WARN, says + more * (found["unknown"] > 1))


def _replicas(admin: AdminSession) -> Findings:
    """Report what is wrong now with the replicas that run; no line if all is well."""
    for row in admin.rows(SQL["refused"]):
        says = f"the database refuses a replica (SQLSTATE {row['code']}): {advice(row['code'])}"
        yield CheckFinding("replicas", CheckVerdict.FAIL, says)
    for holder in holders(admin.connection):
        if holder.stands_out:
            session = f"backend {holder.pid}, {holder.application!r}" if holder.pid else holder.application
            says = f"{session} keeps the {holder.lock}'s lock, which is the reactor's: see `python -m reactor locks`"
            yield CheckFinding("locks", CheckVerdict.FAIL, says)
