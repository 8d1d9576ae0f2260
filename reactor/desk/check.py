"""Checks everything that the service needs, and says for each problem what to do.

Nothing is changed and nothing is sent that counts: Google's calendar endpoint is asked without a token, its token
endpoint with one that does not exist. Google looks at the client's id and secret before it looks at the token, so its
refusal shows whether those are right.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any

import httpx
import psycopg

from reactor.core.refusals import advice
from reactor.desk.wording import duration
from reactor.errors import ConfigurationError, ReactorError, RefusedError
from reactor.google.endpoints import NO_CLIENT
from reactor.google.network import client_options, why
from reactor.postgres.connection.admin import AdminSession, Row, errors_as_sentences, open_admin_session
from reactor.postgres.connection.errors import as_ours
from reactor.postgres.connection.pooler import require_sessions
from reactor.postgres.lock_holders import holders
from reactor.postgres.setup import schema
from reactor.postgres.statements import statements
from reactor.rebuild import GRANTS
from reactor.settings import DatabaseSettings, EncryptionSettings, GoogleSettings, Settings, unknown_variables
from reactor.token_encryption import TokenCipher, TokenCipherError

SQL = statements("check")
CONNECTIONS = statements("connections")
REBUILDS = statements("rebuilds")
OLDEST_SERVER = 150_000
LATE = 5.0  # seconds by which clocks may differ before it is worth a word
WRONG = 300.0  # seconds; a service account's assertion is refused from here on
MANY_LOCKS = 0.25  # of the server's lock table: from here on a busy application may find it full
TOO_MANY_LOCKS = 0.5
TIMEOUT = httpx.Timeout(10.0)
PORTION = 1_000
CAP = 10_000  # stored tokens that are decrypted, sources that are looked at
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


class CheckVerdict(StrEnum):
    """How a check ended: well, with a warning, or with a fault."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class CheckFinding:
    """A line of the report."""

    check: str
    verdict: CheckVerdict
    says: str


Findings = Iterator[CheckFinding]
Given = Mapping[str, Any]


def findings(**given: Any) -> Findings:
    """Look at everything, one finding after the other.

    Args:
        given: Settings that are not taken from the environment, by their names; None for one that is.
    """
    yield from _settings(given)
    yield from _database(given)
    yield from _google(given)


def _settings(given: Given) -> Findings:
    try:
        Settings.from_environment(**given)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            yield CheckFinding("settings", CheckVerdict.FAIL, line)
    else:
        yield CheckFinding("settings", CheckVerdict.OK, "all can be used")
    for sentence in unknown_variables():
        yield CheckFinding("settings", CheckVerdict.WARN, sentence)


def _database(given: Given) -> Findings:
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
            yield from _keys(admin, given)
            yield from _client(admin, given)
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
    yield _clock("clock, database", server["now"] - middle)
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


def _keys(admin: AdminSession, given: Given) -> Findings:
    """Decrypt stored tokens, up to `CAP` of them; report only counts."""
    try:
        cipher = EncryptionSettings.alone(**given).token_cipher
    except ConfigurationError:
        yield CheckFinding(
            "tokens", CheckVerdict.FAIL, "not looked at: TOKEN_ENCRYPTION_KEYS is missing or wrong, see above"
        )
        return
    counts, advice = _decrypt_all(admin, cipher)
    for kind, text in advice.items():
        ours = issubclass(kind, ConfigurationError)
        remedy = "" if ours else "; connect these workspaces again with `python -m reactor connect`"
        verdict = CheckVerdict.FAIL if ours else CheckVerdict.WARN
        yield CheckFinding("tokens", verdict, f"{counts[kind]:,} of {counts.total():,}: {text}{remedy}")
    if counts["old"]:
        text = f"{counts['old']:,} decrypt, but not with the first key: run `python -m reactor tokens rotate`"
        yield CheckFinding("tokens, first key", CheckVerdict.WARN, text)
    if not advice:
        which = f"all {counts.total():,}" if counts.total() < CAP else f"the first {CAP:,}"
        yield CheckFinding("tokens", CheckVerdict.OK, f"{which} stored tokens decrypt")


def _client(admin: AdminSession, given: Given) -> Findings:
    """Whether there are refresh tokens where there is no OAuth client."""
    client = given.get("google_client_id") or os.environ.get("GOOGLE_CLIENT_ID")
    if client == NO_CLIENT and (found := admin.one(CONNECTIONS["of_persons"])["n"]):
        text = f"{found:,} refresh tokens are stored, which need an OAuth client, and GOOGLE_CLIENT_ID is none"
        yield CheckFinding("tokens, client", CheckVerdict.FAIL, text)


def _decrypt_all(admin: AdminSession, cipher: TokenCipher) -> tuple[Counter[object], dict[type[TokenCipherError], str]]:
    counts: Counter[object] = Counter()
    advice: dict[type[TokenCipherError], str] = {}
    after = None
    while counts.total() < CAP and (portion := admin.rows(CONNECTIONS["tokens_after"], after=after, rows=PORTION)):
        for row in portion:
            after = row["workspace"]
            try:
                cipher.decrypt(after, row["stored"])
            except TokenCipherError as error:
                counts[type(error)] += 1
                advice.setdefault(type(error), str(error))
            else:
                counts["old" if cipher.needs_rotation(row["stored"]) else "current"] += 1
    return counts, advice


def _google(given: Given) -> Findings:
    try:
        settings = GoogleSettings.from_environment(**given)
    except ConfigurationError:
        yield CheckFinding("google", CheckVerdict.FAIL, "not looked at: a setting of it is missing or wrong, see above")
        return
    yield from _reached("google, calendar", "GOOGLE_API_ROOT", lambda: _calendar(settings))
    yield from _reached("google, tokens", "GOOGLE_TOKEN_URI", lambda: _tokens(settings))


def _reached(name: str, setting: str, look: Callable[[], Findings]) -> Findings:
    try:
        yield from look()
    except httpx.HTTPError as error:  # its text may contain the address, and says no more
        text = f"cannot be reached ({why(error)}): look at the network, at proxies, and at {setting}"
        yield CheckFinding(name, CheckVerdict.FAIL, text)


def _asked(method: str, url: str, form: dict[str, str] | None = None) -> httpx.Response:
    with httpx.Client(timeout=TIMEOUT, follow_redirects=False, **client_options(url)) as client:
        return client.request(method, url, data=form)


def _calendar(settings: GoogleSettings) -> Findings:
    answer = _asked("GET", f"{settings.google_api_root.rstrip('/')}/calendar/v3/calendars/primary/events")
    now = datetime.now(UTC)
    if answer.status_code in (401, 403):
        yield CheckFinding("google, calendar", CheckVerdict.OK, "reachable; asks for a token, as it should")
    else:
        text = f"answers {answer.status_code} where 401 is expected: is GOOGLE_API_ROOT right?"
        yield CheckFinding("google, calendar", CheckVerdict.FAIL, text)
    with _undated():
        yield _clock("clock, google", parsedate_to_datetime(answer.headers["date"]) - now + timedelta(seconds=0.5))


@contextmanager
def _undated() -> Iterator[None]:
    """Skip the clock if the response has no readable date: a server that stands in for Google need not send one."""
    try:
        yield
    except (KeyError, ValueError, TypeError):
        return


def _tokens(settings: GoogleSettings) -> Findings:
    if settings.google_client_id == NO_CLIENT:
        _asked("POST", settings.google_token_uri)  # any answer will do: the server is there
        yield CheckFinding(
            "google, tokens", CheckVerdict.OK, "reachable; GOOGLE_CLIENT_ID is none, for service accounts only"
        )
        return
    form = {
        "grant_type": "refresh_token",
        "refresh_token": "1//none",
        "client_id": settings.google_client_id,
        "client_secret": settings.google_client_secret.get_secret_value(),
    }
    answer = _asked("POST", settings.google_token_uri, form)
    match _error(answer):
        case "invalid_grant":
            finding = CheckVerdict.OK, "reachable, and accepts our client id and secret"
        case "invalid_client" | "unauthorized_client" | "deleted_client" | "disabled_client" as error:
            advice = "compare GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET with Google's console"
            finding = CheckVerdict.FAIL, f"refuses our client ({error}): {advice}"
        case error:
            text = f"answers {answer.status_code} ({error}), which does not tell whether our client is right"
            finding = CheckVerdict.WARN, f"{text}: try again, and look at GOOGLE_TOKEN_URI"
    yield CheckFinding("google, tokens", *finding)


def _error(answer: httpx.Response) -> str:
    """The error's name; only what looks like one."""
    try:
        error = answer.json()["error"]
    except (ValueError, LookupError, TypeError):
        return "no error that could be read"
    return error if isinstance(error, str) and error.isidentifier() else "an unknown error"


def _clock(name: str, ahead: timedelta) -> CheckFinding:
    seconds = abs(ahead.total_seconds())
    if seconds < LATE:
        return CheckFinding(name, CheckVerdict.OK, "agrees with this machine's")
    side = "ahead of" if ahead > timedelta() else "behind"
    text = f"{duration(seconds)} {side} this machine's: let NTP set both"
    return CheckFinding(name, CheckVerdict.FAIL if seconds > WRONG else CheckVerdict.WARN, text)
