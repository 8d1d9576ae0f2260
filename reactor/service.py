"""The service: the only place where the parts are put together, started, supervised and stopped.

Start. We receive signals before anything slow. The health endpoint comes next, so that probes are answered while we
wait for a database that is down; a port that is taken ends the process. Then the database must be reachable, give us a
session and not a transaction pooler, and have everything that this version needs. Only a problem that a person must
solve ends the process.

Work. Everything that relies on the lease lives inside the session that holds it. When the session is lost, all of it is
cancelled, and after a pause there is a new session, a new outbox and a new loop. What we learned about Google and what
was counted outlives the session. So do the sources of access tokens, because a rotated refresh token must be stored
even if no session is left. When the database is away for long, the pauses grow to seconds; the process goes on and is
alive, not ready.

Unexpected errors. An error that one item causes costs that item an attempt (`reactor.loop`). An error that ends a
claims session ends that session only. We log it in one line, and readiness is off until a minute has passed without
one. After a pause that grows to 5 s we make anew everything that the error may have left in a wrong state, lanes
included, for as long as it takes. The process does not end: a new process would do the same, only slower and after the
cluster's own pauses of up to five minutes. This one keeps its access tokens, still stores rotated refresh tokens, and
answers probes and metrics, which show the problem. It holds no items meanwhile: they were released with the session.
Housekeeping, the audit of locks, the health endpoint and the measuring of the event loop are not the work: each is
restarted by itself, and nothing else stops. Before the work has begun, an unexpected error ends the process with exit
code 1, because there is nothing to keep yet and the operator who has just deployed it is watching.

Stop. The replica is not ready; the loop drains and releases the rest; the session closes and its locks with it; refresh
tokens that are not stored yet get a moment; the health endpoint ends last.
"""

from collections.abc import Callable
from contextlib import aclosing, suppress
from functools import partial

import httpx
import psycopg
import structlog
import trio

import reactor
from reactor.core.backoff import Pauses
from reactor.core.dispatch.gate import GateState, Timings
from reactor.core.health import HealthFacts
from reactor.core.holders import CLAIMS_SESSION
from reactor.core.refusals import RefusedWork
from reactor.credential_store import CredentialStore
from reactor.errors import ConfigurationError, ReactorError, TransientError
from reactor.google.client import GoogleCalendar
from reactor.google.credentials import account_of
from reactor.google.network import client_options
from reactor.google.token_exchange import TokenExchange
from reactor.housekeeping import Housekeeping
from reactor.loop import Loop
from reactor.loop.guarded import Guarded
from reactor.observability.endpoint import HealthEndpoint, RuntimeState
from reactor.observability.log_observer import LogObserver, log_brake_pulled, log_item_set_aside, log_order_mended
from reactor.observability.look_observer import LookObserver
from reactor.observability.pulse_writer import PulseWriter
from reactor.observability.refusal_watch import RefusalWatch
from reactor.observability.server import Server, application
from reactor.observability.tracing import traces
from reactor.postgres.connection.pool import Pool
from reactor.postgres.connection.pooler import require_sessions
from reactor.postgres.connection.session import Session, SessionLostError, open_session
from reactor.postgres.order import Order
from reactor.postgres.outbox import Outbox
from reactor.postgres.pulses import ReplicaIdentity
from reactor.postgres.shares import Shares
from reactor.postgres.wakeups import Wakeups
from reactor.process.concurrency import cancelled_by, first_of, harmless, in_thread, keep_running, one_error, pause
from reactor.process.signals import watch_signals
from reactor.rebuild import REBUILD_LOCK_TIMEOUT, RebuildService
from reactor.settings import Settings, parse_bind
from reactor.wiring import brake, lanes

RETRY_FIRST = 0.05  # seconds; a session that was terminated is replaced at once
RETRY_CAP = 5.0  # seconds; a database that stays away is asked this often
CRASH_FIRST = 1.0  # seconds; an unexpected error is seldom over at once
STEADY = 60.0  # seconds of work without an error after which we take it to be over
CONNECT_WITHIN = 30.0  # seconds; several addresses may stand behind the database's name
PING_CLAIMS = 10.0  # seconds; each sweep shows as much, and while items are in flight there are two a second
PING_SETTLES = 60.0
"""Seconds. This session holds no lock, so we may notice its loss when we use it; the calls that it hears only make a
replica count before its time (`reactor.postgres.shares`)."""
STATEMENT = "3s"  # a claim or a settle takes milliseconds; if one row makes it longer, we do it again without that row
LOCK_SETTLES = "100ms"  # a settle leaves out items that wait longer for a lock (reactor/postgres/settling.py)
LAST_TOKENS = 5.0  # seconds, at the end, for refresh tokens that are still to be stored

log = structlog.get_logger(__name__)


class Service:
    """One reactor, from start to stop. `run` makes and runs it; its attributes are for tests and embedding programs.

    Attributes:
        url: The health endpoint's base URL.
        facts: What probes judge.
        state: What metrics and probes read.
        stop: Set to make the service drain and end.
        health: The pages of the health endpoint.
    """

    def __init__(
        self, settings: Settings, stop: trio.Event, ready: Callable[["Service"], object] = lambda _: None
    ) -> None:
        self.url = ""
        self.stop = stop
        self._settings = settings
        self._dsn = settings.database_url.get_secret_value()
        self._ready: Callable[[Service], object] | None = ready
        self._brake = brake(settings)
        self._pauses = Pauses(first=RETRY_FIRST, cap=RETRY_CAP)
        self._crashes = Pauses(first=CRASH_FIRST, cap=RETRY_CAP)
        self._crashed_at = 0.0
        self._cipher = settings.token_cipher
        self._pool = Pool(self._dsn)
        self._rebuild_pool = Pool(self._dsn, name="calendar-sync-reactor rebuilds", lock_timeout=REBUILD_LOCK_TIMEOUT)
        days = settings.calendar_sync_retention_days
        self.facts = HealthFacts({})
        self._traces = traces()
        watch = RefusalWatch()
        self._housekeeping = Housekeeping(self._pool, self.facts, retention_days=days, observer=watch)
        self._poll = settings.calendar_sync_poll_interval_ms / 1000
        self.state = RuntimeState(
            stop,
            self.facts,
            lanes(settings),
            self._housekeeping,
            self._poll,
            settings.calendar_sync_concurrency,
            watch=watch,
        )
        observers = (
            LogObserver(),
            watch,
            LookObserver(harmless(self._looked)),
            *([self._traces] if self._traces else ()),
        )
        self._observer = Guarded(observers, self.state.stats)
        self.state.order = Order(harmless(log_order_mended))
        identity = ReplicaIdentity(reactor.__version__, settings.without_secrets)
        self._pulses = PulseWriter(self._pool, identity, self.state, watch)
        self.health = HealthEndpoint(self.state)
        self._server = Server(application(self.health.pages))
        self.state.http_restarts = lambda: self._server.restarts

    async def run(self) -> None:
        """Work until `stop` is set.

        Raises:
            ConfigurationError: Something that a person has to change (in an exception group).
        """
        last = trio.Event()
        async with trio.open_nursery() as nursery:
            self.url = await nursery.start(self._server.run, *parse_bind(self._settings.health_bind), last)
            log.info("started", version=reactor.__version__, health=self.url)
            async with trio.open_nursery() as measuring:
                measuring.start_soon(keep_running, "loop_lag", self.state.lag.run)
                await self._work()
                measuring.cancel_scope.cancel()
            if self._traces is not None:
                await self._traces.aclose()
            last.set()
        log.info("stopped")

    async def _work(self) -> None:
        """Run everything but the health endpoint."""
        settings = self._settings
        calendar = GoogleCalendar(
            settings.google_api_root,
            batch_parts=settings.calendar_sync_batch_parts,
            calls=self.state.calls,
            requested=self._observer.requested,
        )
        account = partial(account_of, client=settings.oauth_client)
        async with (
            aclosing(self._pool),
            aclosing(self._rebuild_pool),
            httpx.AsyncClient(**client_options(settings.google_token_uri)) as client,
            calendar,
            trio.open_nursery() as exchanges,
        ):
            self.state.exchange = exchange = TokenExchange(client)
            self.state.credentials = credentials = CredentialStore(
                self._cipher, self._pool, exchange, account, exchanges
            )
            async with trio.open_nursery() as beside:
                await self._await_database()
                beside.start_soon(keep_running, "housekeeping", self._housekeeping.run)
                beside.start_soon(keep_running, "pulses", self._pulses.run)
                await self._keep_claiming(calendar, credentials)
                await self._pulses.end()
                beside.cancel_scope.cancel()
            exchanges.cancel_scope.deadline = trio.current_time() + LAST_TOKENS

    async def _await_database(self) -> None:
        """Wait until the database answers, and check that it has what this version needs."""
        lacking: list[str] = []
        async with cancelled_by(self.stop):
            while True:
                self._beat("connect")
                try:
                    await in_thread(partial(require_sessions, self._dsn), seconds=CONNECT_WITHIN)
                    lacking = await self._housekeeping.verify()
                except TransientError as error:
                    log.warning("database_unreachable", problem=str(error))
                    await pause(self._pauses, unless=self.stop)
                else:
                    break
        if lacking:
            raise ConfigurationError(
                "The database lacks what this version needs; run `python -m reactor migrate` as the owner of its "
                "tables. " + " ".join(lacking)
            )

    async def _keep_claiming(self, calendar: GoogleCalendar, credentials: CredentialStore) -> None:
        """Open a claims session and work in it; when it is lost, open another."""
        while not self.stop.is_set():
            self._beat("connect")
            pauses = self._pauses
            try:
                await self._claim(calendar, credentials)
            except* (SessionLostError, TransientError) as losses:
                self.state.sessions_lost += 1
                log.warning("session_lost", problem=str(first_of(losses)))
            except* ReactorError:
                raise
            except* Exception as errors:  # noqa: BLE001  # logged there
                self._crashed(errors)
                pauses = self._crashes
            finally:
                self._end_session()
            await pause(pauses, unless=self.stop)

    def _crashed(self, errors: ExceptionGroup[Exception]) -> None:
        """Log what ended the work, and make anew what it may have left in a wrong state."""
        log.error("work_crashed", exc_info=errors)
        self.state.stats.crashes += 1
        self.state.lanes = lanes(self._settings)
        self.facts.crashing, self._crashed_at = True, trio.current_time()

    async def _claim(self, calendar: GoogleCalendar, credentials: CredentialStore) -> None:
        """Work in one claims session, until it is lost or the loop has drained."""
        loop: Loop | None = None
        outbox: Outbox | None = None

        async def end_when_told() -> None:
            await self.stop.wait()
            if loop is None:
                nursery.cancel_scope.cancel()
            else:
                loop.drain(self._settings.calendar_sync_drain_timeout_ms / 1000)

        def use(divisor: int, good_until: float) -> None:
            self.state.lanes.share(trio.current_time(), divisor, good_until)
            if loop is not None and outbox is not None:
                outbox.per_workspace = self.state.lanes.per_workspace
                loop.recheck()

        suffix = self.state.watch.suffix
        shares = Shares(use)
        self.state.lanes.unshare()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(end_when_told)
            async with (
                open_session(
                    self._dsn, name=CLAIMS_SESSION + suffix, statement_timeout=STATEMENT, ping_interval=PING_CLAIMS
                ) as session,
                open_session(
                    self._dsn,
                    name="calendar-sync-reactor settles",
                    lock_timeout=LOCK_SETTLES,
                    statement_timeout=STATEMENT,
                    on_notify=shares.called,
                    ping_interval=PING_SETTLES,
                ) as writing,
            ):
                self.state.listening = wakeups = self._make_wakeups()
                self.state.outbox = outbox = self._make_outbox(session, writing, shares)
                await shares.join(session, listening=writing)
                outbox.per_workspace = self.state.lanes.per_workspace
                loop = self._make_loop(outbox, calendar, credentials, wakeups)
                self.facts.claiming = True
                async with trio.open_nursery() as watching:
                    watching.start_soon(keep_running, "lock_watch", partial(self.state.locks.run, outbox, self._pool))
                    watching.start_soon(
                        keep_running, "refusal_watch", partial(self.state.watch.run, suffix, partial(_rename, session))
                    )
                    watching.start_soon(shares.run, session)
                    await loop.run()
                    watching.cancel_scope.cancel()
                with suppress(TransientError):  # its locks end with the session anyway
                    await shares.leave(session)
            nursery.cancel_scope.cancel()

    def _make_wakeups(self) -> Wakeups:
        wakeups = Wakeups(self._dsn, timings=Timings(poll=self._poll))
        wakeups.counts, wakeups.sources = self.state.wakeups, self.state.sources
        wakeups.heard = harmless(self._heard)
        return wakeups

    def _make_outbox(self, session: Session, writing: Session, shares: Shares) -> Outbox:
        return Outbox(
            session,
            writing,
            max_attempts=self._settings.calendar_sync_max_retries,
            batch=self._settings.calendar_sync_batch_parts,
            brake=self._brake,
            on_pull=harmless(log_brake_pulled),
            on_aside=harmless(log_item_set_aside),
            order=self.state.order,
            counted=shares.counted,
        )

    def _make_loop(
        self, outbox: Outbox, calendar: GoogleCalendar, credentials: CredentialStore, wakeups: Wakeups
    ) -> Loop:
        on_pull = harmless(log_brake_pulled)
        return Loop(
            outbox,
            calendar,
            RebuildService(self._rebuild_pool, calendar, self._brake, self._observer, on_pull),
            credentials.tokens_of,
            wakeups,
            lanes=self.state.lanes,
            stats=self.state.stats,
            ceiling=self._settings.calendar_sync_max_retries,
            observer=self._observer,
        )

    def _looked(self) -> None:
        """Note that the database accepted a look: the sessions work."""
        self._pauses.reset()
        self.facts.beats.pop("connect", None)
        if self.facts.crashing and trio.current_time() - self._crashed_at > STEADY:
            self.facts.crashing = False
            self._crashes.reset()
        if self._ready is not None and self.state.gate is not GateState.DEAF:
            ready, self._ready = self._ready, None
            self.facts.has_been_ready = True
            log.info("ready")
            ready(self)

    def _end_session(self) -> None:
        self.facts.claiming = False
        self.state.listening = self.state.outbox = None
        self.state.stats.beats.clear()  # a task that does not run cannot be late
        self.state.watch.refusals.accepted(RefusedWork.SETTLE)  # nothing is in flight, so nothing is left to write
        self._heard(False)
        self._observer.abandoned()

    def _heard(self, hears: bool) -> None:  # noqa: FBT001  (the wake-ups' protocol)
        if hears:
            self.state.deafness.heard(trio.current_time())
        elif self.facts.has_been_ready:
            self.state.deafness.lost(trio.current_time())

    def _beat(self, name: str) -> None:
        self.facts.beats[name] = trio.current_time()


async def _rename(session: Session, suffix: str) -> None:
    """Set the claims session's name, with a suffix at its end."""
    with trio.CancelScope(shield=True), suppress(psycopg.Error, SessionLostError):  # the tasks that use it will notice
        await session.execute("select pg_catalog.set_config('application_name', %s, false)", (CLAIMS_SESSION + suffix,))


async def run(
    settings: Settings, *, stop: trio.Event | None = None, ready: Callable[[Service], object] = lambda _: None
) -> bool:
    """Run the reactor until it is stopped.

    Args:
        settings: All that can be set.
        stop: Set by the caller to ask it to drain and end; without one, SIGTERM and SIGINT ask, and a second one
            stops it at once.
        ready: Called once, when items are claimed and writers are heard for the first time.

    Returns:
        Whether it drained; if not, it was stopped at once.

    Raises:
        ConfigurationError: Something that a person has to change.
    """
    service = Service(settings, trio.Event() if stop is None else stop, ready)
    drained = True
    with one_error(ReactorError):
        async with trio.open_nursery() as nursery:

            def stop_at_once() -> None:
                nonlocal drained
                drained = False
                nursery.cancel_scope.cancel()

            if stop is None:
                await nursery.start(watch_signals, service.stop, stop_at_once)
            await service.run()
            nursery.cancel_scope.cancel()
    return drained
