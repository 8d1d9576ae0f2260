"""`locks`: who holds which item."""

from typing import Any

import typer

from reactor.commands.options import AsJson, DatabaseUrl, OneWorkspace, read_dsn
from reactor.commands.output import clean, duration, note, print_json, print_table, sentences
from reactor.core.holders import Holder
from reactor.postgres.connection.admin import open_admin_session
from reactor.postgres.lock_holders import holders
from reactor.postgres.statements import statements

SQL = statements("locks")
CAP = 10_000  # items that are shown


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
            if workspace:
                admin.require_workspace(workspace)
            found = admin.rows(SQL["locks"], workspace=workspace, cap=CAP)
            if sum(row["item"] is not None for row in found) > CAP:
                note(f"Over {CAP:,} items are in flight; these are some of them. A --workspace shows all of one.")
            if not workspace:
                found += [_of_all(holder) for holder in holders(admin.connection) if holder.stands_out]
    if as_json:
        print_json(found)
    elif found:
        print_table(("workspace", "item", "source", "key", "pid", "client", "age", "holder"), map(_line, found))
    else:
        note("No item is in flight.")


def _of_all(holder: Holder) -> dict[str, Any]:
    return {
        **dict.fromkeys(("workspace", "item", "operation", "source", "key", "client")),
        "pid": holder.pid,
        "application": holder.application,
        "age": holder.seconds,
        "holder": f"the {holder.lock}'s lock{'' if holder.exclusive else ', shared'}",
    }


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
