"""`explain`: why an event is in its calendar or is not, from what the application wants to what Google holds.

Texts of events are treated as everywhere: their lengths, unless they are asked for.
"""

from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

import typer

from reactor.commands import google_event
from reactor.commands.dead_letters import SQL as LETTERS
from reactor.commands.options import AsJson, DatabaseUrl, OneWorkspace, read_dsn
from reactor.commands.output import clean, count, duration, note, print_facts, print_json, print_table, sentences
from reactor.commands.preview import preview
from reactor.core.calendar.ids import event_id
from reactor.core.calendar.messages import EventRef
from reactor.core.explain.asked import Asked, read as understood
from reactor.core.explain.causes import Explanation
from reactor.core.explain.chain import Chain, Custody, OutboxRow, Presence, SessionFacts
from reactor.core.explain.explanation import explain as explained
from reactor.core.explain.seen import EventPresence
from reactor.core.outcome import FailureCode
from reactor.core.payload import LARGEST
from reactor.errors import ConfigurationError
from reactor.postgres.chains import RECENT, ChainReading, read
from reactor.postgres.connection.admin import AdminSession, open_admin_session
from reactor.postgres.sources import MATCHES, Match, SourceSearch, find, workspaces_of

Document = dict[str, Any]
_SIGHTS = {
    EventPresence.ALIVE: "the event is there",
    EventPresence.DELETED: "the event is deleted",
    EventPresence.MISSING: "no such event, or no such calendar for this account",
    EventPresence.FOREIGN: "an event of another source",
    EventPresence.REFUSED: "nothing",
}

_NO_ID = (
    "no item has this id, and no row, no binding and no remembered event fits it. Name it in another way: the source "
    "with its workspace, `python -m reactor explain task:UUID --workspace ID`; or the event's link, or its id and "
    "--workspace, with --google."
)
_NO_TITLE = (
    "no title in the application's view calendar_source_events, in bindings, or in rows that wait or died has these "
    "words. The view has only what should be in a calendar: look in the application whether the task is open, has a "
    "date, and is of a connected workspace. Its id says more: `python -m reactor explain task:UUID --workspace ID`."
)


def explain(
    which: Annotated[
        str,
        typer.Argument(
            metavar="WHICH",
            show_default=False,
            help="An item's id, a source (`task:UUID`), its UUID alone, Google's id or link of the event, or words of "
            "its title.",
        ),
    ],
    *,
    google: Annotated[
        bool, typer.Option("--google", help="Ask Google too: one question, with the workspace's own credentials.")
    ] = False,
    workspace: OneWorkspace = None,
    show_texts: Annotated[
        bool, typer.Option("--show-texts", help="Show the event's texts too; without it their lengths.")
    ] = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Say why an event is not in the calendar: one sentence with what to do, then all that is known of it.

    What the application wants, what waits in the outbox and for what, what is remembered, with --google what Google
    holds, and what is left of its history. Changes nothing. Words of a title are looked for in the application's view,
    in bindings and in rows; where they fit several events, those are listed.

    Exit codes: 0 the calendar is as the application wants it, as far as is known; 1 it is not; 2 no such event,
    several of them, wrong use or no database.
    """
    with sentences():
        asked = understood(which)
        settings = google_event.GoogleReadSettings.from_environment() if google else None
        dsn = read_dsn(database_url)
        with open_admin_session(dsn, name="explain") as admin:
            if workspace:
                admin.require_workspace(workspace)
            found = find(admin, asked, workspace)
            if settings and asked.event_id and not found.matches:
                found = _by_google(admin, settings, asked, workspace, found)
            match = _one(asked, found, show_texts=show_texts, as_json=as_json)
            reading = read(admin, match.workspace, match.source, match.item)
            if settings:
                reading = _seen(admin, settings, reading)
            sent = _sent(admin, reading.chain, show_texts=show_texts)
    explanation = explained(reading.chain)
    document = _document(reading, explanation, sent, match.item, show_texts=show_texts)
    if as_json:
        print_json(document)
    else:
        _show(document)
    raise typer.Exit(0 if explanation.is_well else 1)


def _one(asked: Asked, found: SourceSearch, *, show_texts: bool, as_json: bool) -> Match:
    """The one that is meant; otherwise the command ends with exit code 2."""
    matches = found.matches
    for left_out in found.left_out:
        note(f"Not all was searched: {left_out}.")
    if not matches:
        raise ConfigurationError(f"No such event is known: {_NO_TITLE if asked.title else _NO_ID}")
    if len(matches) > 1:
        shown = [
            {
                "workspace": each.workspace,
                "source": each.source,
                "starts": each.starts,
                "title": _text(each.title, show_texts=show_texts),
            }
            for each in matches
        ]
        if as_json:
            print_json({"matches": shown[:MATCHES], "more": len(shown) > MATCHES})
        else:
            columns = ("workspace", "source", "starts", "title")
            print_table(columns, [tuple(each[name] for name in columns) for each in shown[:MATCHES]])
        more = f"over {MATCHES}" if len(matches) > MATCHES else str(len(matches))
        raise ConfigurationError(
            f"It may be one of {more}: say which, by its source and its --workspace. "
            "--show-texts shows their titles; more words leave fewer."
        )
    return matches[0]


def _by_google(
    admin: AdminSession,
    settings: google_event.GoogleReadSettings,
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


def _seen(admin: AdminSession, settings: google_event.GoogleReadSettings, reading: ChainReading) -> ChainReading:
    """Ask for the event where it is; where it is not known to be, where it would be."""
    chain = reading.chain
    calendar = chain.wanted.calendar_id or (chain.connection and chain.connection.calendar_id)
    place = chain.place
    if place is None and calendar:
        generation = chain.memory.generation if chain.memory else 0
        place = EventRef(calendar, event_id(str(chain.workspace_id), chain.source, generation))
    if place is None or chain.connection is None:
        note("Google was not asked: the workspace has no connection.")
        return reading
    seen = google_event.look(admin, settings, chain.workspace_id, place, chain.source)
    return replace(reading, chain=replace(chain, seen=seen))


def _sent(admin: AdminSession, chain: Chain, *, show_texts: bool) -> Document | None:
    """What the newest state that waits, or that died, would make of the event."""
    row = chain.row or chain.dead_letter
    letter = admin.row(LETTERS["dead_letter"], id=row.id, most=LARGEST) if row else None
    if letter is None:
        return None
    if letter["payload"] is None:
        return {"nothing": f"the payload is too large: {letter['size']:,} bytes"}
    return preview(letter, letter["payload"], show_texts=show_texts)


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
        "waiting": [_row(row) for row in chain.rows],
        "ahead": {"items": chain.ahead, "met": chain.met} if chain.row else None,
        "would_be_sent": sent,
        "remembered": _remembered(reading),
        "google": _google(chain),
        "dead_letters": [_row(row) for row in chain.dead_letters],
        "finished": [_row(row) for row in chain.finished],
    }


def _text(text: object, *, show_texts: bool) -> object:
    return text if show_texts or not isinstance(text, str) else f"({len(text):,} characters)"


def _short(value: object) -> str:
    """What is no text and yet may be anything: columns of a view have any type."""
    return str(value)[:60]


def _wanted(reading: ChainReading, *, show_texts: bool) -> Document:
    wanted, event = reading.chain.wanted, reading.event or {}
    if wanted.presence is Presence.UNKNOWN:
        return {"view": f"not known: {wanted.problem}"}
    if wanted.presence is Presence.NO:
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
    """What a claim asks of the workspace, beside the row itself."""
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


def _row(row: OutboxRow) -> Document:
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


def _show(document: Document) -> None:
    typer.echo(clean(f"{document['verdict']} {document['remedy']}"))
    print_facts(_named(document), title="\nThe event")
    print_facts(document["wanted"], title="\nWhat the application wants")
    print_facts(document["standing"], title="\nIts workspace")
    _show_rows(document["waiting"], "\nWhat waits, the newest state first: that one is sent")
    if ahead := document["ahead"]:
        before = f"{ahead['items']:,} of the workspace" if ahead["items"] else "nothing of the workspace"
        met = {"they met": "; ".join(ahead["met"])} if ahead["met"] else {}
        print_facts({"before it": before, **met})
    if document["would_be_sent"]:
        print_facts(document["would_be_sent"], title="\nWould be sent")
    print_facts(document["remembered"], title="\nWhat is remembered")
    if document["google"]:
        print_facts(document["google"], title="\nGoogle")
    _show_rows([*document["dead_letters"], *document["finished"]], "\nWhat is left of its history")
    note(f"\nFinished rows are looked for among the last {RECENT:,}.")


def _named(document: Document) -> Document:
    """What is explained; of an item that was asked for also how it ended, which the verdict may not say."""
    source = document["source"]
    named = {"workspace": document["workspace"], "source": source if ":" in source else "none"}
    rows = (*document["waiting"], *document["dead_letters"], *document["finished"])
    for row in (row for row in rows if row["item"] == document["item"]):
        code = f", {row['code']}" if row["code"] else ""
        overtaken = ": a newer state was there, so it was not sent" if row["code"] == FailureCode.SUPERSEDED else ""
        named["item"] = f"{row['item']}: {row['status']}{code}{overtaken}"
    return named


def _show_rows(rows: list[Document], title: str) -> None:
    if not rows:
        typer.echo(f"{title}\n  nothing")
        return
    columns = ("item", "operation", "place", "status", "code", "when", "attempts", "error")
    print_table(columns, [(*(str(e["place"]) if n == "place" else e[n] for n in columns),) for e in rows], title=title)


EPILOG = """Examples:

    python -m reactor explain task:0f8e2c1d-3b5a-4c6d-8e9f-a1b2c3d4e5f6

    python -m reactor explain "Quarterly review" --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10

    python -m reactor explain "https://www.google.com/calendar/event?eid=…" --google --json | jq -r .cause"""

app = typer.Typer()
app.command(epilog=EPILOG)(explain)
