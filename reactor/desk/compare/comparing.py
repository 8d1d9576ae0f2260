"""Compares calendars with what the application wants: reads both, and lets the judge find the differences.

`reactor.drift` judges, and shares no code with what makes and writes events; this module does the reading. A workspace
is read in three passes: its calendars page by page, each page beside what is wanted of the sources on it; then all that
is wanted, portion by portion; then what is left. Nothing is written, except a refresh token that Google rotates
meanwhile: it must be stored (`reactor.credential_store`), or the workspace would lose its consent because of a
comparison.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, LiteralString
from uuid import UUID

from reactor.core.outcome import Scope
from reactor.core.refusals import advice
from reactor.credential_store import CredentialStore
from reactor.drift import calendar_event as calendars, judge as judging, wanted as wanting
from reactor.drift.answers import DriftAnswer
from reactor.drift.judge import DriftFinding, DriftKind, Judge, SourceRecord
from reactor.drift.traces import Trace, Waiting, explain
from reactor.drift.wanted import Unusable, WantedEvent
from reactor.errors import ConfigurationError, PermanentError, ReactorError, RefusedError, TransientError
from reactor.google.reader import PAGE, Pace, Reader, documents
from reactor.google.tokens import TokenSource, TokenUnavailable
from reactor.google.transport import Transport
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.connection.pool import Pool
from reactor.postgres.statements import statements

SQL = statements("drift")
ROWS = 500  # of what is wanted, in a portion: each portion reads the application's view once
LARGEST = 256 * 1024  # bytes of a document; the contract's bound
MOST = 1_000  # findings that are kept; all are counted

_READ = {"row": wanting.from_row, "payload": wanting.from_payload, "binding": wanting.from_binding}
_GRANTS = {
    "view": "GRANT SELECT ON public.calendar_source_events TO calendar_sync_reactor",
    "function": "GRANT EXECUTE ON FUNCTION public.calendar_source_events(uuid) TO calendar_sync_reactor",
}


@dataclass(frozen=True, slots=True)
class Cost:
    """What a comparison costs, as far as that can be known beforehand.

    Attributes:
        workspaces: How many are compared.
        calendars: How many calendars are read; None where they were not counted.
        events: About how many events they hold.
        calls: About how many calls of Google's quotas that takes.
    """

    workspaces: int
    calendars: int | None
    events: int
    calls: int


def cost(admin: AdminSession, workspace: UUID | None) -> Cost:
    """Estimate what it costs to compare one workspace, or all.

    Raises:
        ConfigurationError: The application's view may not be read.
    """
    if workspace is None:
        [row] = admin.rows(SQL["size"])
        return Cost(row["connections"], None, row["events"], row["connections"] + row["events"] // PAGE)
    [found] = admin.rows(SQL["source"])
    state = _state(found["source"], is_readable=found["is_readable"])
    rows = admin.rows(state + SQL["calendars"], workspace=workspace)
    pages = sum(1 + row["events"] // PAGE for row in rows)
    return Cost(1, len(rows), sum(row["events"] for row in rows), pages)


def _state(source: str, *, is_readable: bool) -> LiteralString:
    """The beginning of a statement that reads what is wanted."""
    if not is_readable:
        raise ConfigurationError(f"calendar_source_events may not be read; run: {_GRANTS[source]}")
    match source:
        case "view":
            return SQL["state_of_view"]
        case "function":
            return SQL["state_of_function"]
        case _:
            return SQL["state_of_memory"]


@dataclass(slots=True)
class Report:
    """The report on one workspace.

    Attributes:
        workspace: Its id.
        source: Where the application says what it wants: `view`, `function` or `memory`.
        calendars: The calendars that were read, or why one could not be.
        wanted: How many events the application wants.
        events: How many events of ours the calendars hold.
        occurrences: How many occurrences of series a person changed or removed: they are not compared.
        kinds: How many findings there are of each kind, without those on their way.
        on_its_way: How many differences are being mended.
        findings: The first of them.
        notes: What else a person should know.
        calls: How many calls of the account's quota it took.
        failed: Why it could not be compared; empty where it was.
    """

    workspace: UUID
    source: str = ""
    calendars: dict[str, str] = field(default_factory=dict, repr=False)
    wanted: int = 0
    events: int = 0
    occurrences: int = 0
    kinds: Counter[DriftKind] = field(default_factory=Counter)
    on_its_way: int = 0
    findings: list[DriftFinding] = field(default_factory=list, repr=False)
    notes: list[str] = field(default_factory=list)
    calls: int = 0
    failed: str = ""

    def fail(self, why: str) -> None:
        """Note that the comparison did not reach its end; findings up to then are incomplete, and are dropped."""
        self.failed, self.on_its_way = why, 0
        self.kinds.clear()
        self.findings.clear()


class FailedForAllError(ReactorError):
    """Google does not answer us for any workspace."""


@dataclass(frozen=True, slots=True)
class Comparing:
    """Compares workspaces, one after the other.

    Attributes:
        pool: Connections to the database.
        credentials: Where access tokens come from.
        transport: To Google.
        pace: How fast Google is asked.
        words: Whether findings show texts, and not their lengths.
        patience: Seconds that a change may wait in the outbox before it counts as a difference.
        lookups: How many events are asked for one by one, in each workspace, where they are in no list.
    """

    pool: Pool
    credentials: CredentialStore
    transport: Transport
    pace: Pace
    words: bool
    patience: float
    lookups: int

    async def compare(self, workspace: UUID) -> Report:
        """Compare one workspace.

        Raises:
            ConfigurationError: The application's view may not be read.
            FailedForAllError: Google does not answer us at all.
        """
        report = Report(workspace)
        before = self.pace.questions
        try:
            await _Comparison(self, report).run()
        except TokenUnavailable as error:
            if error.outcome.scope is Scope.ALL:
                raise FailedForAllError(
                    f"Google gives no access tokens: {error.outcome.text}. Run `python -m reactor check`."
                ) from error
            report.fail(_no_token(error.outcome.text))
        except ConfigurationError:
            raise
        except RefusedError as error:
            where = "what was applied last" if report.source == "memory" else "calendar_source_events"
            report.fail(f"The database refuses to show {where} (SQLSTATE {error.sqlstate}): {advice(error.sqlstate)}.")
        except ReactorError as error:
            report.fail(str(error))
        report.calls = self.pace.questions - before
        return report


class _Comparison:
    """The comparison of one workspace."""

    def __init__(self, parts: Comparing, report: Report) -> None:
        self._parts = parts
        self._report = report
        self._judge = Judge(str(report.workspace), words=parts.words)
        self._params: dict[str, Any] = {"workspace": report.workspace, "largest": LARGEST}
        self._state: LiteralString = ""
        self._rebuild: Waiting | None = None
        self._lookups = parts.lookups

    async def run(self) -> None:
        """Read both sides and fill the report."""
        reader = await self._open()
        await self._find_state()
        for calendar_id, _ in await self._execute(self._state + SQL["calendars"]):
            await self._read(reader, calendar_id)
        self._report.events, self._report.occurrences = self._judge.events, self._judge.occurrences
        await self._judge_wanted(reader)
        await self._judge_rest()

    async def _open(self) -> Reader:
        rows = await self._execute(SQL["workspace"])
        if not rows:
            raise PermanentError(
                "The workspace has no connection, so there is no calendar to look at; "
                "`python -m reactor connect` makes one."
            )
        [(stored, is_valid, is_stopped, rebuild, waits)] = rows
        if not is_valid:
            self._report.notes.append(
                "its connection is marked invalid, so nothing is sent: connect it again, `python -m reactor connect`"
            )
        if is_stopped:
            self._report.notes.append("the brake has stopped it: see `python -m reactor brake list`")
        if rebuild is not None:
            self._rebuild = Waiting(str(rebuild), waits)
            self._report.notes.append(f"a REBUILD_ALL waits: `python -m reactor status --rebuild {rebuild}`")
        tokens = self._parts.credentials.tokens(self._report.workspace, stored)
        if not isinstance(tokens, TokenSource):
            raise PermanentError(_no_token(tokens.text))
        return Reader(self._parts.transport, tokens, self._parts.pace, tokens.quota_user)

    async def _find_state(self) -> None:
        [(source, is_readable, now)] = await self._execute(SQL["source"])
        self._report.source, self._params["since"] = source, now
        self._state = _state(source, is_readable=is_readable)

    async def _read(self, reader: Reader, calendar_id: str) -> None:
        """Read a calendar page by page, and judge each page beside what is wanted."""
        token: str | None = None
        while True:
            said = await reader.page(calendar_id, str(self._report.workspace), token)
            if said.means is DriftAnswer.ABSENT:
                self._judge.gone(calendar_id, said.codes)
                self._report.calendars[calendar_id] = said.codes
                return
            await self._see(calendar_id, documents(said))
            before, token = token, said.document.get("nextPageToken")
            if token is not None and token == before:
                raise TransientError("Google shows the same page of the calendar again and again; try again later.")
            if not isinstance(token, str):
                self._report.calendars[calendar_id] = ""
                return

    async def _see(self, calendar_id: str, items: Sequence[object]) -> None:
        """See the events of a page beside what is wanted of their sources."""
        events = [event for event in map(calendars.read, items) if event is not None]
        keys = sorted({event.source for event in events if self._judge.is_ours(event)})
        rows = await self._wanted("", keys=keys) if keys else []
        wanted = {key: each for key, each, _ in rows}
        for event in events:
            self._judge.see(calendar_id, event, wanted.get(event.source))

    async def _judge_wanted(self, reader: Reader) -> None:
        after = ""
        while portion := await self._wanted(after):
            after = portion[-1][0]
            self._report.wanted += len(portion)
            found = [await self._judge_one(reader, *each) for each in portion]
            await self._report_findings([finding for finding in found if finding is not None])

    async def _judge_one(
        self, reader: Reader, key: str, wanted: WantedEvent | Unusable, memory: SourceRecord
    ) -> DriftFinding | None:
        found = self._judge.judge(key, wanted, memory)
        calendar_id, event_id = memory.calendar_id or "", memory.event_id or ""
        if found is None or isinstance(wanted, Unusable) or not judging.needs_lookup(found, memory):
            return found
        if self._report.calendars.get(calendar_id, "not read"):
            return found
        if not self._lookups:
            return replace(found, problem="not asked for on its own: --lookups is used up")
        self._lookups -= 1
        said = await reader.event(calendar_id, event_id)
        return judging.judge_again(found, wanted, memory, calendars.read(said.document), words=self._parts.words)

    async def _judge_rest(self) -> None:
        rest: list[DriftFinding] = []
        for finding in self._judge.rest():
            rest.append(finding)
            if len(rest) == ROWS:
                await self._report_findings(rest)
                rest = []
        await self._report_findings(rest)

    async def _wanted(
        self, after: str, keys: list[str] | None = None
    ) -> list[tuple[str, WantedEvent | Unusable, SourceRecord]]:
        """What is wanted of some sources, or of a portion of all."""
        rows = await self._execute(
            self._state + SQL["wanted"], after=after, keys=keys, rows=len(keys) if keys else ROWS
        )
        return [(key, _READ[form](document), SourceRecord(*memory)) for key, form, document, *memory in rows]

    async def _report_findings(self, findings: Sequence[DriftFinding]) -> None:
        """Ask the outbox about some findings, and report them."""
        if not findings:
            return
        rows = await self._execute(SQL["traces"], keys=[finding.source for finding in findings])
        traces = {key: _trace(*rest) for key, *rest in rows}
        for finding in findings:
            explained = explain(finding, traces[finding.source], self._rebuild, self._parts.patience)
            if explained.on_its_way:
                self._report.on_its_way += 1
            else:
                self._report.kinds[explained.kind] += 1
            if len(self._report.findings) < MOST:
                self._report.findings.append(explained)

    async def _execute(self, statement: LiteralString, **more: Any) -> list[tuple[Any, ...]]:
        return await self._parts.pool.execute(statement, self._params | more)


def _no_token(why: str) -> str:
    return f"There is no access token: {why}. If it stays so, connect the workspace again: `python -m reactor connect`."


def _trace(item: UUID | None, waits: float | None, settled: bool, dead: UUID | None, code: str | None) -> Trace:  # noqa: FBT001  (columns)
    waiting = None if item is None else Waiting(str(item), waits)
    return Trace(waiting, settled, "" if dead is None else str(dead), code or "")
