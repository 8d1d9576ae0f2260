"""`dead-letters`: lists dead letters, shows why they died, and puts them back into the outbox.

Texts of events (title, description, place) are left out of the preview unless they are asked for: an operator at three
in the morning pastes the output into a ticket or a chat, and the cause of a dead letter is hardly ever in the words.
Their lengths are shown, because Google limits those.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated
from uuid import UUID

import typer

from reactor.commands.options import (
    AsJson,
    DatabaseUrl,
    DryRun,
    OneWorkspace,
    Reason,
    author,
    read_dsn,
    read_id,
    read_number,
)
from reactor.commands.output import note, note_hidden_texts, print_facts, print_json, print_table, progress, sentences
from reactor.desk.letters import dead_letters, requeue_run
from reactor.desk.letters.dead_letters import (
    AGE_TEXT,
    CODES,
    FATE_TEXTS,
    FATES,
    LetterFilter,
    RequeueForecast,
    age_of,
)
from reactor.desk.letters.requeue_run import LetterRefusal
from reactor.desk.wording import at_least, count
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import open_admin_session

SHOWN = 200  # causes in the table

app = typer.Typer(
    name="dead-letters",
    help="Look at dead letters and put them back.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
)

Code = Annotated[
    str | None,
    typer.Option(show_default=False, help="Those that died of this: AUTH, EXHAUSTED, …; `none`: an older worker's."),
]
Before = Annotated[
    str | None,
    typer.Option(show_default=False, metavar="TIME", help="Those that died before: ISO 8601, UTC without an offset."),
]
Age = Annotated[
    str | None, typer.Option(show_default=False, metavar="AGE", help="Those that died longer ago: 90s, 30m, 12h, 7d.")
]
Ids = Annotated[
    list[UUID] | None,
    typer.Option("--id", parser=read_id, metavar="<UUID>", show_default=False, help="This one; may be repeated."),
]

Error = Annotated[
    str | None,
    typer.Option("--error", show_default=False, metavar="TEXT", help="Those with this error, word for word."),
]


def _filters(
    workspace: UUID | None,
    code: str | None,
    before: str | None,
    age: str | None,
    ids: list[UUID] | None = None,
    *,
    error: str | None = None,
) -> LetterFilter:
    """Read the filters; raises ConfigurationError with what they should be."""
    code = code.upper() if code else None
    if code is not None and code not in CODES:
        raise ConfigurationError(f"There is no code {code}. Codes are: {', '.join(sorted(CODES))}.")
    return LetterFilter(workspace, code, _time(before), _age(age), ids or None, error)


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ConfigurationError("--before is a date or a time in ISO 8601, such as 2026-01-31T12:00:00Z.") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _age(text: str | None) -> timedelta | None:
    if text is None:
        return None
    age = age_of(text)
    if age is None:
        raise ConfigurationError(f"--age is {AGE_TEXT}.")
    return age


@app.command(
    "list",
    epilog="""Examples:

    python -m reactor dead-letters list

    python -m reactor dead-letters list --code EXHAUSTED --age 1h --json""",
)
def list_(
    *,
    workspace: OneWorkspace = None,
    code: Code = None,
    before: Before = None,
    age: Age = None,
    error: Error = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List dead letters, grouped by what they died of, the most frequent cause first.

    Exit codes: 0 there are none; 1 there are some; 2 wrong use or no database.
    """
    with sentences():
        filters = _filters(workspace, code, before, age, error=error)
        with open_admin_session(read_dsn(database_url), name="dead-letters list") as admin:
            document = dead_letters.causes(admin, filters)
    causes = document["causes"]
    if as_json:
        print_json(document)
    elif causes:
        columns = ("workspace", "code", "items", "first", "last", "newest", "error")
        print_table(columns, [tuple(cause[name] for name in columns) for cause in causes[:SHOWN]])
        if len(causes) > SHOWN:
            note(f"And {len(causes) - SHOWN:,} rarer causes: narrow it with --workspace or --code, or see --json.")
        note(
            f"{at_least(document['total'], dead_letters.CAP)} in all. Next: `python -m reactor dead-letters show ID`, "
            "`python -m reactor dead-letters requeue --all --dry-run`."
        )
    else:
        note("There are no dead letters.")
    raise typer.Exit(1 if causes else 0)


@app.command(
    epilog="""Example:

    python -m reactor dead-letters show 0f8e2c1d-3b5a-4c6d-8e9f-a1b2c3d4e5f6"""
)
def show(
    item: Annotated[UUID, typer.Argument(parser=read_id, metavar="ID", show_default=False, help="The item.")],
    *,
    show_texts: Annotated[
        bool, typer.Option("--show-texts", help="Show the event's texts too; without it their lengths.")
    ] = False,
    reason: Reason = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show one item: what it died of, what would be sent, and what a requeue would do.

    Works for items in every state. Titles, descriptions and places are private: they are shown only with --show-texts.
    With --reason as well, that look is recorded, as one of the console is; a login in the role calendar_sync_words
    reads texts in this way only.

    Exit codes: 0 shown; 2 there is no such item, wrong use or no database.
    """
    with sentences(), open_admin_session(read_dsn(database_url), name="dead-letters show") as admin:
        recorded = author(reason) if reason else None
        letter = dead_letters.letter(admin, item, show_texts=show_texts, recorded=recorded)
        if show_texts and admin.hides_texts and not recorded:
            note_hidden_texts()
    if as_json:
        print_json(letter)
        return
    would, fate = letter.pop("preview"), letter.pop("requeue")
    print_facts({**letter, "seq": str(letter["seq"]), "floor": str(letter["floor"])}, title="Item")
    print_facts(would, title="\nWould be sent")
    note(f"\nA requeue: {fate}.")


@app.command(
    epilog="""Examples:

    python -m reactor dead-letters requeue --code EXHAUSTED --age 10m --dry-run

    python -m reactor dead-letters requeue --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10 --rate 20

    python -m reactor dead-letters requeue --id 0f8e2c1d-3b5a-4c6d-8e9f-a1b2c3d4e5f6"""
)
def requeue(  # noqa: PLR0913  (options)
    *,
    workspace: OneWorkspace = None,
    code: Code = None,
    before: Before = None,
    age: Age = None,
    error: Error = None,
    ids: Ids = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    rate: Annotated[
        float, typer.Option(parser=read_number(0.1), metavar="<float>", help="Items a second, 0.1 at least.")
    ] = 50.0,
    reason: Reason = None,
    dry_run: DryRun = False,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Put dead letters back: due now, with all their attempts.

    At a bounded rate, so that what is inserted meanwhile is not held up. It may be broken off at any time and run
    again; what was put back stays so. What dies again meanwhile is left alone. At most 100,000 at a time.

    Not all of them are sent: where a newer state of the same source was settled, or is on its way, the older one is
    completed as SUPERSEDED. How many is said before anything is done.

    Exit codes: 0 done (or nothing to do); 1 some were locked or refused and are left; 2 wrong use or no database.
    """
    with sentences():
        filters = _filters(workspace, code, before, age, ids, error=error)
        if not everything and filters.is_open:
            raise ConfigurationError("Say which: --workspace, --code, --before, --age, --error or --id; or --all.")
        with open_admin_session(read_dsn(database_url), name="dead-letters requeue") as admin:
            forecast = dead_letters.forecast(admin, filters)
            if forecast.missing > 0:
                note(f"{forecast.missing} of the given items are no dead letters and are left alone.")
            if not as_json:
                note(_forecast(forecast, "would be put back" if dry_run else "to be put back"))
            done = 0
            if forecast.ids and not dry_run:
                run = requeue_run.begin(admin, filters, forecast, rate, author(reason))
                with progress("Putting back", len(forecast.ids)) as advance:
                    requeue_run.requeue(admin, run, partial(_advance, advance))
                done = run.act.done
                if run.act.stops:
                    note(f"It was stopped: see `python -m reactor acts show {run.act.id}`.")
    left = 0 if dry_run else len(forecast.ids) - done
    if as_json:
        fates = {name: forecast.fates[name] for name in FATES}
        print_json({"found": len(forecast.ids), "requeued": done, "left": left, "dry_run": dry_run, **fates})
    elif forecast.ids and not dry_run:
        note(
            f"{done:,} put back."
            + (f" {left:,} were locked, refused or changed meanwhile: run it again." if left else "")
        )
    raise typer.Exit(1 if left else 0)


def _advance(bar: Callable[[int], None], put: int, refused: list[LetterRefusal]) -> None:
    for each in refused:
        note(f"{each.item} cannot be put back: the database refuses it (SQLSTATE {each.sqlstate}).")
    bar(put)


def _forecast(forecast: RequeueForecast, done: str) -> str:
    counts, total = forecast.fates, len(forecast.ids)
    if not total:
        return "There are no such dead letters."
    lines = [f"  {counts[fate]:,} {text}" for fate, text in FATE_TEXTS.items() if counts[fate]]
    more = " (run it again for the rest)" if forecast.is_cut else ""
    return "\n".join([f"{count(total, 'dead letter')} {done}{more}:", *lines])
