"""Checks what an application writes as the reactor will check it, before a calendar misses it.

Three things can be looked at: the view `calendar_source_events` as a rebuild reads it, the newest rows of the outbox,
and a payload that a person has at hand. Each goes through the contract's own parser, so what is said here is what a
dead letter would say. A problem names a field and never a value.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, LiteralString
from uuid import UUID

import psycopg
from psycopg import errors

from reactor.core.item import Oversized
from reactor.core.payload import LARGEST, BadPayloadError, Cancel, Operation, Rebuild, parse, source_key
from reactor.desk.letters.preview import preview
from reactor.desk.wording import visible
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.shown import shown
from reactor.postgres.statements import statements
from reactor.rebuild import GRANTS

SQL, REBUILDS = statements("lint"), statements("rebuilds")
CAP = 10_000
"""Rows of the view that are read."""
NEWEST = 1_000
"""Rows of the outbox that are read."""
KINDS = 100
"""Problems of different kinds that are listed."""
_PORTION = 500
_LONGEST = 200  # characters of a source's name
_TWICE = "sourceId: is in several rows of the workspace; one of them would be sent"
_NUMBERED = re.compile(r"\.\d+")  # the fifth line of a list is the list's problem
_NO_WORKSPACE = UUID(int=0)

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LintProblem:
    """What is wrong with some rows.

    Attributes:
        field: The path of the field.
        says: What the field must be.
        rows: How many rows have it.
        example: One of them: the workspace and the source, or the item's id.
    """

    field: str
    says: str
    rows: int
    example: str


@dataclass(slots=True)
class LintPart:
    """What was found in the rows of one origin.

    Attributes:
        origin: `view`, `function`, `memory` where the application says no whole state, or `outbox`.
        rows: How many were read.
        bad: How many of them cannot be used.
        capped: Whether there are more.
        refused: Why they could not be read; empty where they could.
        problems: What is wrong, the most frequent first.
    """

    origin: str
    rows: int = 0
    bad: int = 0
    capped: bool = False
    refused: str = ""
    problems: list[LintProblem] = field(default_factory=list)

    @property
    def is_well(self) -> bool:
        """Whether all could be read, and used."""
        return not (self.bad or self.refused)


@dataclass(frozen=True, slots=True)
class LintReport:
    """What was found in a database.

    Attributes:
        view: The application's whole current state.
        outbox: The newest rows of the outbox.
    """

    view: LintPart
    outbox: LintPart

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong."""
        return self.view.is_well and self.outbox.is_well

    def document(self) -> Document:
        """The document of `--json`."""
        return {"ok": self.is_well, "view": asdict(self.view), "outbox": asdict(self.outbox)}


def lint(admin: AdminSession, workspace: UUID | None = None) -> LintReport:
    """Look at up to `CAP` rows of the view and at the newest `NEWEST` of the outbox.

    Args:
        admin: The session; it need not be able to write.
        workspace: Those of this workspace only; of settled rows, of the last ten thousand of all workspaces.
    """
    return LintReport(_view(admin, workspace), _outbox(admin, workspace))


def _view(admin: AdminSession, workspace: UUID | None) -> LintPart:
    found = admin.one(REBUILDS["source"])
    kind = found["kind"]
    part = LintPart(kind)
    if kind == "memory":
        return part
    if not found["is_readable"]:
        part.refused = f"calendar_source_events may not be read; run: {GRANTS[kind]}"
        return part
    state = SQL["of_view"] if kind == "view" else SQL["of_function"]
    statement = state + REBUILDS["state_of_application"] + SQL["of_application"]
    _read(admin, part, statement, CAP, {"only": workspace, "workspace": None})
    return part


def _outbox(admin: AdminSession, workspace: UUID | None) -> LintPart:
    part = LintPart("outbox")
    _read(admin, part, SQL["of_outbox"], NEWEST, {"only": workspace})
    return part


def _read(
    admin: AdminSession, part: LintPart, statement: LiteralString, most: int, params: Mapping[str, UUID | None]
) -> None:
    """Read rows and note what is wrong with them; what the application's view raises is noted too."""
    counted, examples, seen = Counter[str](), dict[str, str](), set[str]()
    try:
        for row in _rows(admin, statement, {**params, "rows": most + 1, "largest": LARGEST}):
            if part.rows == most:
                part.capped = True
                break
            part.rows += 1
            problems = {_NUMBERED.sub("[]", each) for each in _problems(row)}
            if row["key"] in seen:
                problems.add(_TWICE)
            seen.add(row["key"])
            part.bad += bool(problems)
            counted.update(problems)
            for each in problems:
                examples.setdefault(each, visible(row["key"].strip()[:_LONGEST]))
    except (errors.InsufficientPrivilege, errors.DataError, errors.ProgrammingError) as error:
        part.refused = _refused(part.origin, error)
    ordered = sorted(counted.items(), key=lambda each: (-each[1], each[0]))
    part.problems = [LintProblem(*_split(each), rows, examples[each]) for each, rows in ordered[:KINDS]]


def _rows(admin: AdminSession, statement: LiteralString, params: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The rows of a statement, in portions: the server makes a portion when it is asked for."""
    with admin.connection.transaction(), admin.connection.cursor(name="lint") as cursor:
        cursor.execute(shown(statement) if admin.hides_texts else statement, params)
        while portion := cursor.fetchmany(_PORTION):
            yield from portion


def _refused(origin: str, error: psycopg.Error) -> str:
    """Why rows could not be read. The server's words may repeat a value, so only those that name a column are said."""
    what = "the outbox" if origin == "outbox" else "calendar_source_events"
    if isinstance(error, errors.UndefinedColumn):
        return f"{what} lacks what this needs: {error.diag.message_primary} (docs/schema.md)"
    if isinstance(error, errors.InsufficientPrivilege):
        return f"this login may not read payloads of {what}: use one in the role calendar_sync_reactor, or the owner's"
    return f"reading {what} fails with SQLSTATE {error.sqlstate}: a rebuild would fail as well"


def _problems(row: Mapping[str, Any]) -> tuple[str, ...]:
    payload = Oversized(row["size"]) if row["payload"] is None else row["payload"].encode()
    try:
        parse(row["operation"], _uuid(row["workspace"]), payload)
    except BadPayloadError as error:
        return error.problems
    return ()


def _uuid(text: object) -> UUID:
    """A workspace's id; one that is none is the payload's problem."""
    with suppress(ValueError):
        return UUID(str(text))
    return _NO_WORKSPACE


def _split(line: str) -> tuple[str, str]:
    path, _, says = line.partition(": ")
    return path, says


def lint_payload(payload: bytes) -> Document:
    """Say what is wrong with a payload that a person has at hand, or what would be sent for it.

    What the row of the outbox would say, its operation and its workspace, is taken out of the payload.

    Args:
        payload: JSON text.
    """
    read: Any = None
    if len(payload) <= LARGEST:
        with suppress(ValueError, RecursionError):
            read = json.loads(payload)
    given = read if isinstance(read, dict) else {}
    operation = given.get("operation", "") if isinstance(read, dict) else Operation.UPSERT_EVENT
    workspace = _uuid(given.get("workspaceId"))
    try:
        what = parse(str(operation), workspace, payload if len(payload) <= LARGEST else Oversized(len(payload)))
    except BadPayloadError as error:
        problems = [dict(zip(("field", "says"), _split(each), strict=True)) for each in error.problems]
        return {"ok": False, "problems": problems, "sends": None}
    source = "" if isinstance(what, Rebuild) else source_key(what.source_type, what.source_id)
    event = what.google_event_id if isinstance(what, Cancel) else None
    letter = {"operation": operation, "workspace": workspace, "source": source, "generation": 0, "event_id": event}
    return {"ok": True, "problems": [], "sends": preview(letter, read, show_texts=False)}
