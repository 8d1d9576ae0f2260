"""`acts`: what operators did, by a command or on the console's pages."""

from typing import Annotated, Any

import typer

from reactor.commands.options import AsJson, DatabaseUrl, OneWorkspace, Reason, author, read_dsn, read_whole
from reactor.commands.output import note, print_facts, print_json, print_table, sentences
from reactor.desk import act_run, acts
from reactor.desk.wording import clean
from reactor.postgres.connection.admin import open_admin_session

MOST = 1_000  # acts in one list

Document = dict[str, Any]
Number = Annotated[
    int,
    typer.Argument(
        parser=read_whole(1, acts.LAST_NUMBER), metavar="NUMBER", show_default=False, help="The act's number."
    ),
]

app = typer.Typer(
    name="acts",
    help="Show what operators did, and stop what takes long.",
    rich_markup_mode="markdown",
    no_args_is_help=True,
)


@app.command(
    "list",
    epilog="""Examples:

    python -m reactor acts list

    python -m reactor acts list --workspace 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10 --json""",
)
def list_(
    *,
    workspace: OneWorkspace = None,
    before: Annotated[
        int | None,
        typer.Option(
            parser=read_whole(1, acts.LAST_NUMBER), metavar="NUMBER", show_default=False, help="Those before this act."
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option(parser=read_whole(1, MOST), metavar="<int>", help="How many at most.")
    ] = acts.ROWS,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """List what operators did, the newest first: when, who, what, and what came of it.

    Exit codes: 0 shown; 2 wrong use or no database.
    """
    with sentences(), open_admin_session(read_dsn(database_url), name="acts list") as admin:
        found = acts.listed(admin, workspace=workspace, before=before, rows=rows)
    if as_json:
        print_json({"acts": found.rows, "before": found.before})
    elif found.rows:
        columns = ("number", "when", "who", "how", "act", "workspace", "reason", "result")
        print_table(columns, map(_line, found.rows))
        if found.before:
            note(f"There are more: `python -m reactor acts list --before {found.before}`.")
    else:
        note("There are no such acts.")


@app.command(
    epilog="""Example:

    python -m reactor acts show 17"""
)
def show(number: Number, *, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Show one act: who did what and why, what was forecast, what came of it; of a run how far it is.

    Exit codes: 0 shown; 2 there is no such act, wrong use or no database.
    """
    with sentences(), open_admin_session(read_dsn(database_url), name="acts show") as admin:
        found = acts.act(admin, number)
    if as_json:
        print_json(found)
        return
    parts = {name: found.pop(name) for name in ("target", "forecast", "result")}
    print_facts({**found, "id": str(found["id"])}, title="Act")
    for name, part in parts.items():
        if part:
            print_facts(part, title=f"\n{name.capitalize()}")


@app.command(
    epilog="""Example:

    python -m reactor acts stop 17 --reason "the calendar is full again" """.rstrip()
)
def stop(number: Number, *, reason: Reason = None, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Stop a run, such as a requeue, also another person's: it ends before its next portion.

    What it has done stays so.

    Exit codes: 0 it will stop; 2 it does not run, wrong use or no database.
    """
    with sentences(), open_admin_session(read_dsn(database_url), name="acts stop") as admin:
        act_run.stop(admin, number, author(reason))
    if as_json:
        print_json({"stops": number})
    else:
        note(f"Act {number} stops before its next portion.")


def _line(row: Document) -> tuple[Any, ...]:
    result = dict(row["result"] or {})
    if "state" in result:
        said = f"{result['state']}, {result['done']:,} of {result['of']:,}"
    else:
        said = ", ".join(f"{name.replace('_', ' ')} {clean(value)}" for name, value in result.items())
    named = (str(row["id"]), row["at"], row["who"], row["how"], row["act"])
    return (*named, row["workspace"], row["reason"], said or None)
