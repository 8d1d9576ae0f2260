"""`locks`: who holds which item."""

from typing import Any

import typer

from reactor.commands.options import AsJson, DatabaseUrl, OneWorkspace, read_dsn
from reactor.commands.output import note, print_json, print_table, sentences
from reactor.desk import locks as desk
from reactor.desk.wording import clean, duration
from reactor.postgres.connection.admin import open_admin_session


def locks(*, workspace: OneWorkspace = None, as_json: AsJson = False, database_url: DatabaseUrl = None) -> None:
    """Show which session holds which item: workspace, key, backend, client, age; the longest held first.

    After them, sessions that keep the lock of the claims or of the gate and are no replica at its work: another
    program's, or one whose transaction has been open for a minute. Their names and process ids are shown.

    An item is in flight for seconds. One that is held for minutes belongs to a worker that hangs: look its backend's
    process id up in pg_stat_activity; `select pg_terminate_backend(pid)` frees its items for others. An orphan has lost
    its worker; the next sweep, within seconds, makes it due again. Items of an older worker that has lost its lock are
    taken over after ten minutes.

    Exit codes: 0 shown; 2 wrong use or no database.
    """
    with sentences():
        dsn = read_dsn(database_url)
        with open_admin_session(dsn, name="locks") as admin:
            found = desk.held(admin, workspace)
            if found.is_cut:
                note(f"Over {desk.CAP:,} items are in flight; these are some of them. A --workspace shows all of one.")
    rows = found.rows
    if as_json:
        print_json(rows)
    elif rows:
        print_table(("workspace", "item", "source", "key", "pid", "client", "age", "holder"), map(_line, rows))
    else:
        note("No item is in flight.")


def _line(row: dict[str, Any]) -> tuple[Any, ...]:
    where = f" at {row['client'] or 'local'}" if row["key"] else ""
    client = f"{row['application'] or '?'}{where}" if row["pid"] else row["application"]
    age = None if row["age"] is None else duration(row["age"])
    key, pid = None if row["key"] is None else str(row["key"]), None if row["pid"] is None else str(row["pid"])
    return (clean(row["workspace"]), row["item"], row["source"], key, pid, client, age, row["holder"])


EPILOG = """Examples:

    python -m reactor locks

    python -m reactor locks --json | jq '.[] | select(.age > 60)'"""

app = typer.Typer()
app.command(epilog=EPILOG)(locks)
