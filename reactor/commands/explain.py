"""`explain`: why an event is in its calendar or is not, from what the application wants to what Google holds.

Texts of events are treated as everywhere: their lengths, unless they are asked for.
"""

from typing import Annotated, Any

import typer

from reactor.commands.options import AsJson, DatabaseUrl, OneWorkspace, read_dsn
from reactor.commands.output import note, note_hidden_texts, print_facts, print_json, print_table, sentences
from reactor.core.explain.asked import Asked, understand
from reactor.core.outcome import FailureCode
from reactor.desk import explanation
from reactor.desk.google_event import GoogleReadSettings
from reactor.desk.wording import clean
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import open_admin_session
from reactor.postgres.explain.chains import RECENT
from reactor.postgres.explain.sources import MATCHES, Match, SourceSearch

Document = dict[str, Any]
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
        asked = understand(which)
        settings = GoogleReadSettings.from_environment() if google else None
        dsn = read_dsn(database_url)
        with open_admin_session(dsn, name="explain") as admin:
            found = explanation.find(admin, asked, workspace, settings)
            match = _one(asked, found, show_texts=show_texts, as_json=as_json)
            report = explanation.explain(admin, match, google=settings, show_texts=show_texts)
            if show_texts and admin.hides_texts:
                note_hidden_texts()
            if settings and not report.was_asked:
                note("Google was not asked: the workspace has no connection.")
    document = report.document
    if as_json:
        print_json(document)
    else:
        _show(document)
    raise typer.Exit(0 if report.is_well else 1)


def _one(asked: Asked, found: SourceSearch, *, show_texts: bool, as_json: bool) -> Match:
    """The one that is meant; otherwise the command ends with exit code 2."""
    matches = found.matches
    for left_out in found.left_out:
        note(f"Not all was searched: {left_out}.")
    if not matches:
        raise ConfigurationError(f"No such event is known: {_NO_TITLE if asked.title else _NO_ID}")
    if len(matches) > 1:
        shown = explanation.matches(found, show_texts=show_texts)
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
