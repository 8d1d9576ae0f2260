"""`dead-letters`: lists dead letters, shows why they died, and puts them back into the outbox.

Texts of events (title, description, place) are left out of the preview unless they are asked for: an operator at three
in the morning pastes the output into a ticket or a chat, and the cause of a dead letter is hardly ever in the words.
Their lengths are shown, because Google limits those.
"""

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from time import monotonic, sleep
from typing import Annotated, Any
from uuid import UUID

import psycopg
import typer

from reactor.commands.options import AsJson, DatabaseUrl, DryRun, OneWorkspace, read_dsn, read_id, read_number
from reactor.commands.output import at_least, count, note, print_facts, print_json, print_table, progress, sentences
from reactor.commands.preview import preview
from reactor.core.item import Oversized
from reactor.core.outcome import FailureCode
from reactor.core.payload import LARGEST, BadPayloadError, parse
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession, open_admin_session
from reactor.postgres.statements import statements

SQL = statements("dead_letters")
CAP = 100_000  # letters that one command looks at
PORTIONS = 5  # a second
SHOWN = 200  # causes in the table
READ = 200  # payloads that are read at a time
CODES = {*FailureCode, "NONE"} - {FailureCode.SUPERSEDED}
_AGE = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Filters = dict[str, Any]

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


def _filters(
    workspace: UUID | None, code: str | None, before: str | None, age: str | None, ids: list[UUID] | None
) -> Filters:
    """Read the filters; raises ConfigurationError with what they should be."""
    code = code.upper() if code else None
    if code is not None and code not in CODES:
        raise ConfigurationError(f"There is no code {code}. Codes are: {', '.join(sorted(CODES))}.")
    return {"workspace": workspace, "code": code, "before": _time(before), "age": _age(age), "ids": ids or None}


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
    match = _AGE.fullmatch(text)
    if match is None or len(match[1]) > 6:
        raise ConfigurationError("--age is a number and a unit, such as 90s, 30m, 12h or 7d.")
    return timedelta(**{_UNITS[match[2]]: int(match[1])})


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
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List dead letters, grouped by what they died of, the most frequent cause first.

    Exit codes: 0 there are none; 1 there are some; 2 wrong use or no database.
    """
    with sentences():
        filters = _filters(workspace, code, before, age, None)
        with open_admin_session(read_dsn(database_url), name="dead-letters list") as admin:
            if workspace:
                admin.require_workspace(workspace)
            causes = admin.rows(SQL["by_cause"], **filters, cap=CAP)
    total = sum(cause["items"] for cause in causes)
    if as_json:
        print_json({"causes": causes, "total": total, "capped": total > CAP})
    elif causes:
        columns = ("workspace", "code", "items", "first", "last", "newest", "error")
        print_table(columns, [tuple(cause[name] for name in columns) for cause in causes[:SHOWN]])
        if len(causes) > SHOWN:
            note(f"And {len(causes) - SHOWN:,} rarer causes: narrow it with --workspace or --code, or see --json.")
        note(
            f"{at_least(total, CAP)} in all. Next: `python -m reactor dead-letters show ID`, "
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
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show one item: what it died of, what would be sent, and what a requeue would do.

    Works for items in every state. Titles, descriptions and places are private: they are shown only with --show-texts.

    Exit codes: 0 shown; 2 there is no such item, wrong use or no database.
    """
    with sentences():
        with open_admin_session(read_dsn(database_url), name="dead-letters show") as admin:
            letter = admin.row(SQL["dead_letter"], id=item, most=LARGEST)
        if letter is None:
            raise ConfigurationError(
                f"There is no item {item}: look whether it was mistyped; retention may have deleted it "
                "(CALENDAR_SYNC_RETENTION_DAYS)."
            )
    payload, size = letter.pop("payload"), letter.pop("size")
    if size is not None and size > LARGEST:
        would = {"nothing": f"the payload is too large: {size:,} bytes"}
    else:
        would = preview(letter, payload, show_texts=show_texts)
    fate = _fate(letter, is_usable="nothing" not in would)
    if as_json:
        print_json({**letter, "preview": would, "requeue": fate})
        return
    print_facts({**letter, "seq": str(letter["seq"]), "floor": str(letter["floor"])}, title="Item")
    print_facts(would, title="\nWould be sent")
    note(f"\nA requeue: {fate}.")


def _fate(letter: dict[str, Any], *, is_usable: bool) -> str:
    if letter["status"] != "DEAD_LETTER":
        return f"not possible, it is {letter['status']}"
    if letter["seq"] < letter["floor"]:
        return "nothing is sent, a newer state of the source was settled"
    if letter["newer_waits"]:
        return "nothing is sent, a newer state of the source waits"
    if not is_usable:
        return "it is a dead letter again, the payload cannot be used: mend what writes the row"
    if not letter["connection_is_valid"]:
        return "it waits for a valid connection, then it is sent"
    if letter["open_rebuild"]:
        rebuild = f"`python -m reactor status --rebuild {letter['open_rebuild']}`"
        newest = "which brings the event's newest state"
        return f"it gives way to the workspace's rebuild, {newest} ({rebuild} says how far it is)"
    return "it is sent"


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
    ids: Ids = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    rate: Annotated[
        float, typer.Option(parser=read_number(0.1), metavar="<float>", help="Items a second, 0.1 at least.")
    ] = 50.0,
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
        filters = _filters(workspace, code, before, age, ids)
        if not everything and not any(filters.values()):
            raise ConfigurationError("Say which: --workspace, --code, --before, --age or --id; or --all.")
        with open_admin_session(read_dsn(database_url), name="dead-letters requeue") as admin:
            if workspace:
                admin.require_workspace(workspace)
            outcomes = admin.rows(SQL["requeue_outcomes"], **filters, cap=CAP)
            _ask_the_parser(admin, outcomes)
            if ids and len(outcomes) < len(set(ids)):
                note(f"{len(set(ids)) - len(outcomes)} of the given items are no dead letters and are left alone.")
            counts = Counter(row["fate"] for row in outcomes)
            if not as_json:
                note(_forecast(counts, "would be put back" if dry_run else "to be put back"))
            done = 0 if dry_run else _put_back(admin, [row["id"] for row in outcomes], rate)
    left = 0 if dry_run else len(outcomes) - done
    if as_json:
        fate = {name: counts[name] for name in ("sent", "parked", "behind", "refused", "outdated", "overtaken")}
        print_json({"found": len(outcomes), "requeued": done, "left": left, "dry_run": dry_run, **fate})
    elif outcomes and not dry_run:
        note(
            f"{done:,} put back."
            + (f" {left:,} were locked, refused or changed meanwhile: run it again." if left else "")
        )
    raise typer.Exit(1 if left else 0)


def _ask_the_parser(admin: AdminSession, outcomes: list[dict[str, Any]]) -> None:
    """Mark those that would be sent and whose payload cannot be used, which they died of, or it is not known."""
    suspects = {row["id"]: row for row in outcomes if row["suspect"] and row["fate"] in ("sent", "parked")}
    ids = list(suspects)
    for first in range(0, len(ids), READ):
        for row in admin.rows(SQL["payloads"], ids=ids[first : first + READ], most=LARGEST):
            try:
                parse(
                    row["operation"], row["workspace"], Oversized(row["size"]) if row["text"] is None else row["text"]
                )
            except BadPayloadError:
                suspects[row["id"]]["fate"] = "refused"


def _forecast(counts: Counter[str], done: str) -> str:
    total = counts.total()
    if not total:
        return "There are no such dead letters."
    said = {
        "sent": "will be sent",
        "parked": "will wait for a valid connection",
        "behind": "will give way to the rebuild of their workspace, which brings the newest state of the same event",
        "refused": "will be dead letters again: the payload cannot be used "
        "(`python -m reactor dead-letters show ID` says why)",
        "outdated": "will be completed without being sent: a newer state was settled",
        "overtaken": "will be completed without being sent: a newer state waits or is put back too",
    }
    lines = [f"  {counts[fate]:,} {text}" for fate, text in said.items() if counts[fate]]
    more = " (run it again for the rest)" if total == CAP else ""
    return "\n".join([f"{count(total, 'dead letter')} {done}{more}:", *lines])


def _put_back(admin: AdminSession, ids: list[UUID], rate: float) -> int:
    """Put them back in portions, each when its time has come; returns how many were."""
    began = admin.one(SQL["server_time"])["now"]
    portion = max(1, int(rate / PORTIONS))
    started, done = monotonic(), 0
    with progress("Putting back", len(ids)) as advance:
        for first in range(0, len(ids), portion):
            sleep(max(0.0, started + first / rate - monotonic()))
            some = ids[first : first + portion]
            done += _put_back_portion(admin, some, began)
            advance(len(some))
    return done


def _put_back_portion(admin: AdminSession, ids: list[UUID], began: datetime) -> int:
    """Put some back together, and one by one where the database refuses one of them for what it holds."""
    try:
        return len(admin.rows(SQL["requeue"], ids=ids, began=began))
    except psycopg.OperationalError:
        raise
    except psycopg.Error as error:
        if len(ids) > 1:
            return sum(_put_back_portion(admin, [each], began) for each in ids)
        note(f"{ids[0]} cannot be put back: the database refuses it (SQLSTATE {error.sqlstate}).")
        return 0
