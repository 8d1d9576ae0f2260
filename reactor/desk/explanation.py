"""Why an event is in its calendar or is not: finds the source that is meant, and puts together what is known of it.

Texts of events are treated as everywhere: their lengths, unless they are asked for.
"""

from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from reactor.core.calendar.ids import event_id
from reactor.core.calendar.messages import EventRef
from reactor.core.explain.asked import Asked, understand
from reactor.core.explain.causes import BY_ITSELF, Explanation
from reactor.core.explain.chain import Chain, Custody, OutboxRow, SessionFacts, ViewPresence
from reactor.core.explain.explanation import explain as explained
from reactor.core.explain.seen import EventPresence, GoogleReading
from reactor.core.payload import LARGEST
from reactor.desk import google_event
from reactor.desk.google_event import GoogleReadSettings, StoredToken
from reactor.desk.letters.dead_letters import SQL as LETTERS, would_be_sent
from reactor.desk.wording import clean, count, duration
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.explain import sources
from reactor.postgres.explain.chains import SQL as CHAINS, ChainReading, read
from reactor.postgres.explain.sources import MATCHES, Match, SourceSearch, workspaces_of

Document = dict[str, Any]
_SIGHTS = {
    EventPresence.ALIVE: "the event is there",
    EventPresence.DELETED: "the event is deleted",
    EventPresence.MISSING: "no such event, or no such calendar for this account",
    EventPresence.FOREIGN: "an event of another source",
    EventPresence.REFUSED: "nothing",
}


@dataclass(frozen=True, slots=True)
class ExplanationReport:
    """An explanation with all the facts, as a document.

    Attributes:
        document: All that is known, as `--json` prints it.
        is_well: Whether the calendar is as the application wants it, as far as is known.
        goes_on: Whether it is not yet so, and the reactor goes on with it by itself.
        was_asked: Whether Google was asked.
    """

    document: Document
    is_well: bool
    goes_on: bool
    was_asked: bool


@dataclass(frozen=True, slots=True)
class SourceQuestion:
    """A question to Google for one event.

    Attributes:
        token: The workspace's stored credentials, with which Google is asked.
        place: Where the event is, or would be.
        source: The source that it should be of.
    """

    token: StoredToken
    place: EventRef
    source: str


@dataclass(frozen=True, slots=True)
class DeskSearch:
    """The result of a search. At most one of the first three attributes has something.

    Attributes:
        item: The item with this id.
        workspaces: The workspaces with this id, or that are connected to this calendar.
        sources: The events that may be meant: workspace, source, when it starts, the length of its title.
        has_more: Whether there are more.
        left_out: What was not searched, a sentence each.
    """

    item: UUID | None = None
    workspaces: list[UUID] = field(default_factory=list)
    sources: list[Document] = field(default_factory=list)
    has_more: bool = False
    left_out: list[str] = field(default_factory=list)


def find(
    admin: AdminSession,
    asked: Asked,
    workspace: UUID | None = None,
    google: GoogleReadSettings | None = None,
    *,
    brief: bool = False,
) -> SourceSearch:
    """Find the sources that may be meant, in one workspace or in all.

    Args:
        admin: The session.
        asked: What was asked for.
        workspace: Where it is.
        google: The settings with which Google is asked whose an event is, where nothing here knows it.
        brief: Whether it is for a page: then less is looked through.

    Raises:
        ConfigurationError: Nothing is known of the workspace, or what was asked for is a rebuild.
    """
    if workspace:
        admin.require_workspace(workspace)
    found = sources.find(admin, asked, workspace, brief=brief)
    if google and asked.event_id and not found.matches:
        return _by_google(admin, google, asked, workspace, found)
    return found


def matches(found: SourceSearch, *, show_texts: bool = False) -> list[Document]:
    """What is shown of several events that may be meant."""
    return [
        {
            "workspace": each.workspace,
            "source": each.source,
            "starts": each.starts,
            "title": _text(each.title, show_texts=show_texts),
        }
        for each in found.matches
    ]


def search(admin: AdminSession, text: str, workspace: UUID | None = None) -> DeskSearch:
    """Find what a person has typed or pasted.

    Args:
        admin: The session.
        text: An id of an item, a workspace, a source, an event or a calendar; a link; or words of a title.
        workspace: Where it is, for what is looked for in all workspaces otherwise.

    Raises:
        ConfigurationError: The text is empty, too long, or a link that holds no event; nothing is known of the
            workspace.
    """
    asked = understand(text)
    if asked.uuid:
        if admin.row(CHAINS["item"], id=asked.uuid):
            return DeskSearch(item=asked.uuid)
        if admin.knows_workspace(asked.uuid):
            return DeskSearch(workspaces=[asked.uuid])
    if asked.title and "@" in asked.title and (connected := workspaces_of(admin, asked.title, None)):
        return DeskSearch(workspaces=connected, has_more=len(connected) >= MATCHES)
    found = find(admin, asked, workspace, brief=True)
    shown = matches(found)
    return DeskSearch(sources=shown[:MATCHES], has_more=len(shown) > MATCHES, left_out=found.left_out)


def explain(
    admin: AdminSession,
    match: Match,
    *,
    google: GoogleReadSettings | None = None,
    seen: GoogleReading | None = None,
    show_texts: bool = False,
    view_seconds: float | None = None,
) -> ExplanationReport:
    """Say why an event is in its calendar or is not.

    Args:
        admin: The session.
        match: The source.
        google: The settings with which Google is asked too; None where it is not.
        seen: What Google has said already to the question of `question`.
        show_texts: Whether the event's texts are in the document, and not their lengths.
        view_seconds: Seconds that the application's view has; a few without it.
    """
    reading = read(admin, match.workspace, match.source, match.item, view_seconds=view_seconds)
    if google and (place := _place_to_ask(reading.chain)):
        seen = google_event.look(admin, google, match.workspace, place, match.source)
    if seen:
        reading = replace(reading, chain=replace(reading.chain, seen=seen))
    sent = _sent(admin, reading.chain, show_texts=show_texts)
    explanation = explained(reading.chain)
    document = _document(reading, explanation, sent, match.item, show_texts=show_texts)
    goes_on = explanation.cause in BY_ITSELF
    return ExplanationReport(document, explanation.is_well, goes_on, reading.chain.seen is not None)


def _by_google(
    admin: AdminSession,
    settings: GoogleReadSettings,
    asked: Asked,
    workspace: UUID | None,
    found: SourceSearch,
) -> SourceSearch:
    """Let the event itself say whose it is: what we write is marked."""
    for each in workspaces_of(admin, asked.calendar_id, workspace):
        calendar = asked.calendar_id or _calendar(admin, each)
        if calendar and asked.event_id:
            seen = google_event.look(admin, settings, each, EventRef(calendar, asked.event_id))
            if seen.source_key and seen.workspace_id == str(each):
                return SourceSearch([Match(each, seen.source_key)])
    return found


def _calendar(admin: AdminSession, workspace: UUID) -> str | None:
    connection = admin.row(google_event.SQL["connection"], workspace=workspace)
    return str(connection["calendar"]) if connection else None


def question(admin: AdminSession, match: Match, google: GoogleReadSettings) -> SourceQuestion | None:
    """The question to Google for an event, for a caller without a session; None where Google cannot be asked.

    Raises:
        ConfigurationError: The workspace's token cannot be decrypted.
    """
    place = _place_to_ask(read(admin, match.workspace, match.source, match.item).chain)
    if place is None:
        return None
    return SourceQuestion(google_event.stored_token(admin, google, match.workspace), place, match.source)


def _place_to_ask(chain: Chain) -> EventRef | None:
    """Where the event is; where it is not known to be, where it would be. None without a connection."""
    calendar = chain.wanted.calendar_id or (chain.connection and chain.connection.calendar_id)
    place = chain.place
    if place is None and calendar:
        generation = chain.memory.generation if chain.memory else 0
        place = EventRef(calendar, event_id(str(chain.workspace_id), chain.source, generation))
    return place if chain.connection else None


def _sent(admin: AdminSession, chain: Chain, *, show_texts: bool) -> Document | None:
    """What the newest state that waits, or that died, would make of the event."""
    row = chain.row or chain.dead_letter
    letter = admin.row(LETTERS["dead_letter"], id=row.id, most=LARGEST) if row else None
    return letter and would_be_sent(letter, show_texts=show_texts)


def _document(
    reading: ChainReading, explanation: Explanation, sent: Document | None, item: UUID | None, *, show_texts: bool
) -> Document:
    chain = reading.chain
    return {
        "cause": explanation.cause.value,
        "verdict": explanation.verdict,
        "remedy": explanation.remedy,
        "workspace": chain.workspace_id,
        "source": chain.source,
        "item": item,
        "wanted": _wanted(reading, show_texts=show_texts),
        "standing": _standing(chain),
        "waiting": [row_document(row) for row in chain.rows],
        "ahead": {"items": chain.ahead, "met": chain.met} if chain.row else None,
        "would_be_sent": sent,
        "remembered": _remembered(reading),
        "google": _google(chain),
        "dead_letters": [row_document(row) for row in chain.dead_letters],
        "finished": [row_document(row) for row in chain.finished],
    }


def _text(text: object, *, show_texts: bool) -> object:
    return text if show_texts or not isinstance(text, str) else f"({len(text):,} characters)"


def _short(value: object) -> str:
    """The beginning of a value that should be no text; the columns of an application's view may have any type."""
    return str(value)[:60]


def _wanted(reading: ChainReading, *, show_texts: bool) -> Document:
    wanted, event = reading.chain.wanted, reading.event or {}
    if wanted.presence is ViewPresence.UNKNOWN:
        return {"view": f"not known: {wanted.problem}"}
    if wanted.presence is ViewPresence.NO:
        return {"view": "does not have it"}
    texts = {name: _text(event.get(name), show_texts=show_texts) for name in ("title", "description", "location")}
    return {
        "view": f"has it ({_short(event.get('event_type'))})",
        "calendar": wanted.calendar_id,
        **{name: text for name, text in texts.items() if text is not None},
        "start": _short(event.get("start_at")),
        "end": _short(event.get("end_at")),
    }


def _standing(chain: Chain) -> Document:
    """What a claim requires of the workspace, beside the row itself."""
    connection, stop, replicas = chain.connection, chain.stop, chain.replicas
    running = count(replicas.count, "replica")
    refused = f", one is refused by the database with SQLSTATE {replicas.sqlstate}" if replicas.sqlstate else ""
    blocked = f"; {replicas.blocker.text} keeps the lock of all claims" if replicas.blocker else ""
    return {
        "connection": "none" if connection is None else "valid" if connection.is_valid else "invalid",
        "calendar": connection and connection.calendar_id,
        "brake": f"has stopped it: {stop.deletes:,} of {stop.events:,} events" if stop else "no",
        "rebuild": f"{chain.rebuild.id}, {chain.rebuild.status}, {_when(chain.rebuild)}" if chain.rebuild else "none",
        "reactor": running + refused + blocked,
    }


def _when(row: OutboxRow) -> str:
    """What happens to an open row, and when."""
    if row.custody is Custody.LOST:
        return "its worker is gone"
    if row.custody:
        by = f" by {_of(row.session)}" if row.session else ""
        return f"in flight{by}"
    if row.is_aside:
        return f"set aside with SQLSTATE {row.sqlstate}, again in {duration(row.retry_in)}"
    locked = f", locked by {_of(row.session)}" if row.session else ""
    if row.due_in is None:
        return f"never due{locked}"
    due = f"due for {duration(-row.due_in)}" if row.is_due else f"due in {duration(row.due_in)}"
    return f"{due}{locked}"


def _of(session: SessionFacts) -> str:
    return session.text + ("" if session.seconds is None else f" for {duration(session.seconds)}")


def row_document(row: OutboxRow) -> Document:
    """A row as a person reads it."""
    ended = None if row.status not in ("COMPLETED", "DEAD_LETTER") else row.ended_ago
    return {
        "item": row.id,
        "operation": row.operation,
        "place": row.seq,
        "status": row.status,
        "code": row.code,
        "when": _when(row) if ended is None else f"{duration(ended)} ago",
        "attempts": f"{row.attempts} of {row.max_attempts}",
        "of_a_rebuild": row.is_child,
        "error": row.error,
    }


def _remembered(reading: ChainReading) -> Document:
    memory, binding = reading.chain.memory, reading.chain.binding
    written = clean(reading.synced_at)
    bound = f"event {binding.event_id} in {binding.calendar_id}, written {written}" if binding else "none"
    if memory is None:
        return {"source": "nothing", "binding": bound}
    return {
        "event": memory.event_id,
        "calendar": memory.calendar_id,
        "removed by us": memory.cancelled,
        "settled up to": str(memory.floor_seq),
        "generation": memory.generation,
        "written": reading.remembered_at,
        "left open": f"attempts that may have left it in {count(len(memory.possible_calendars), 'calendar')}"
        if memory.possible_calendars
        else "nothing",
        "binding": bound,
    }


def _google(chain: Chain) -> Document | None:
    seen = chain.seen
    if seen is None:
        return None
    state = None if seen.seq is None else str(seen.seq)
    return {"shows": _SIGHTS[seen.presence], "state": state, **({"because": seen.problem} if seen.problem else {})}
