"""`status`: how the outbox is, and how far a rebuild."""

from typing import Annotated, Any
from uuid import UUID

import typer

from reactor.commands.options import AsJson, DatabaseUrl, OneWorkspace, read_dsn, read_id
from reactor.commands.output import print_facts, print_json, print_table, sentences
from reactor.core.refusals import advice
from reactor.desk import outbox_status as desk, rebuild_progress
from reactor.desk.wording import at_least, clean, count, duration, many
from reactor.postgres.connection.admin import open_admin_session

Document = dict[str, Any]


def status(
    *,
    rebuild: Annotated[
        UUID | None,
        typer.Option(
            parser=read_id, metavar="<UUID>", show_default=False, help="How far this REBUILD_ALL is: the id of its row."
        ),
    ] = None,
    workspace: OneWorkspace = None,
    as_json: AsJson = False,
    database_url: DatabaseUrl = None,
) -> None:
    """Show how the outbox is: what waits and for how long, who waits for a person, dead letters, replicas.

    Cheap at any size: of each kind no more than 10,000 rows are counted ("over 10,000"), of a rebuild's items no more
    than 100,000, and never the finished ones. What waits
    for a valid connection is parked; the oldest due item is one that could be sent.

    Exit codes: 0 shown; 2 wrong use or no database.
    """
    with sentences():
        dsn = read_dsn(database_url)
        with open_admin_session(dsn, name="status") as admin:
            progress, state = rebuild_progress.rebuild_progress, desk.outbox_status
            document = progress(admin, rebuild, workspace) if rebuild else state(admin, workspace)
    if as_json:
        print_json(document)
    elif rebuild:
        _show_rebuild(document)
    else:
        _show_outbox(document)


def _show_outbox(document: Document) -> None:
    print_facts(_outbox_facts(document), title="Outbox")
    _show_worst(document["backlog"]["worst"])
    _show_parked(document["parked"]["workspaces"])
    _show_stopped(document["stopped"])
    _show_replicas(document["replicas"])
    _show_held(document["held"])


def _outbox_facts(document: Document) -> Document:
    items, hand, backlog, parked = (document[part] for part in ("items", "in_hand", "backlog", "parked"))
    total = at_least(items["open"], desk.CAP) + (f", about {items['about']:,}" if items["about"] else "")
    of_these = f"of the first {items['open']:,}: " if items["capped"] else ""
    workspaces = many(len(parked["workspaces"]), desk.LISTED, "workspace")
    waits = many(sum(each["waiting"] for each in parked["workspaces"]), desk.CAP, "item")
    return {
        "waiting": total,
        "": f"{of_these}{items['pending']:,} PENDING, {items['failed']:,} FAILED; {items['later']:,} not due yet",
        "oldest due": _backlog(backlog),
        "in flight": f"{at_least(hand['processing'], desk.CAP)} PROCESSING; {count(hand['orphans'], 'orphan')}, "
        f"{hand['of_older_workers']:,} of an older worker",
        "parked": f"{waits} of {workspaces} without a valid connection",
        "connections": f"{at_least(parked['total'], desk.CAP)}, of which {parked['invalid']:,} invalid",
        "dead letters": _dead(document["dead_letters"]),
        **_aside(document["set_aside"]),
        **_refused(document["replicas"]),
        **({} if document["replicas"] else {"replicas": "none is connected: nothing is sent"}),
    }


def _show_worst(worst: list[Document]) -> None:
    if worst:
        rows = [(each["workspace"], _waited(each["waited"]), at_least(each["due"], desk.CAP)) for each in worst]
        print_table(("workspace", "waits for", "due"), rows, title="\nWaiting longest")


def _show_parked(parked: list[Document]) -> None:
    if parked:
        shown = sorted(parked, key=lambda each: -each["waiting"])[: desk.TOP]
        rows = [
            (e["workspace"], "invalid" if e["connected"] else "none", at_least(e["waiting"], desk.CAP)) for e in shown
        ]
        title = "\nParked: connect them again with `python -m reactor connect`"
        print_table(("workspace", "connection", "waiting"), rows, title=title)


def _show_stopped(stopped: list[Document]) -> None:
    if stopped:
        rows = [(e["workspace"], e["cause"], f"{e['deletes']:,} of {e['events']:,}") for e in stopped]
        more = f" ({at_least(len(rows), desk.LISTED)} workspaces)" if len(rows) > desk.TOP else ""
        title = f"\nStopped by the brake{more}: see `python -m reactor brake list`"
        print_table(("workspace", "cause", "would delete"), rows[: desk.TOP], title=title)


def _show_held(holders: list[Document]) -> None:
    if holders:
        rows = [(e["lock"].value, str(e["pid"] or "-"), e["application"], _held_for(e)) for e in holders]
        title = "\nHeld for long: end these sessions or transactions, `select pg_terminate_backend(pid)`"
        print_table(("lock", "pid", "session", "since"), rows, title=title)


def _backlog(backlog: Document) -> str:
    if not backlog["workspaces"]:
        return "nothing"
    workspaces = count(backlog["workspaces"], "workspace")
    some = f" of the first {desk.CAP:,}" if backlog["capped"] else ""
    return f"{duration(backlog['oldest_due_seconds'])}, in {workspaces}{some}"


def _waited(seconds: float | None) -> str:
    return "ever" if seconds is None else duration(seconds)


def _dead(dead: Document) -> str:
    codes = ", ".join(f"{count:,} {clean(code)}" for code, count in dead["codes"].items())
    return (f"over {desk.CAP:,}, of which at least " if dead["capped"] else "") + (codes or "none")


def _held_for(holder: Document) -> str:
    return "not known" if holder["seconds"] is None else f"{duration(holder['seconds'])} ago"


def _refused(sessions: list[Document]) -> dict[str, str]:
    """What replicas report of themselves, by the line's name."""
    codes = sorted({code for each in sessions for code in (each["refused"] or "").split()})
    said = "; ".join(f"{code}, {advice(code)}" for code in codes)
    return {"refused": f"by the database, with SQLSTATE {said}"} if codes else {}


def _aside(reasons: list[Document]) -> Document:
    """The items that the database refuses to change, and why; empty without any."""
    if not reasons:
        return {}
    total = at_least(sum(each["n"] for each in reasons), desk.CAP)
    said = ", ".join(
        f"{each['n']:,} {each['sqlstate']}{' ' + clean(each['constraint']) if each['constraint'] else ''}"
        for each in reasons[: desk.TOP]
    )
    return {"set aside": f"{total} that the database refuses to change: {said}; one is {reasons[0]['example']}"}


def _show_replicas(sessions: list[Document]) -> None:
    if not sessions:
        return
    rows = [
        (
            each["application"].rpartition(" ")[2],
            str(each["pid"]),
            each["client"] or ("local" if each["since"] else "not shown to this role"),
            each["since"],
            "the gate: sleeps" if each["has_gate"] else many(each["items"], desk.CAP, "item") + _part(each),
        )
        for each in sessions
    ]
    print_table(("session", "pid", "client", "since", "has"), rows, title="\nReplicas")


def _part(session: Document) -> str:
    """The part of the quota that the session's replica uses."""
    return f", 1/{session['quota_divisor']} of the quota" if session["quota_divisor"] else ""


def _show_rebuild(document: Document) -> None:
    row, children = document["rebuild"], document["children"]
    total, done, dead = children["total"], children["done"], sum(children["dead"].values())
    left = total - done - dead
    share = f" ({100 * (done + dead) // total} %)" if total else ""
    codes = ", ".join(f"{count:,} {clean(code)}" for code, count in children["dead"].items())
    print_facts(
        {
            "workspace": row["workspace"],
            "asked for": row["created_at"],
            "expansion": _expansion(row),
            "events": f"{done + dead:,} of {at_least(total, rebuild_progress.CHILDREN)} settled{share}, {left:,} to go",
            "overtaken": f"{children['overtaken']:,} by newer states",
            "dead letters": codes or "none",
            "over": document["over"],
        },
        title=f"Rebuild {row['id']}",
    )


def _expansion(row: Document) -> str:
    match row["status"]:
        case "COMPLETED" if row["code"] == "SUPERSEDED":
            return "not done: a newer rebuild took its place"
        case "COMPLETED":
            return f"done at {clean(row['processed_at'])}" + (
                f"; {clean(row['last_error'])}" if row["last_error"] else ""
            )
        case "DEAD_LETTER":
            return f"dead letter {clean(row['code'])}: {clean(row['last_error'])}"
        case "PROCESSING":
            return "under way"
        case _:
            error = f" after: {clean(row['last_error'])}" if row["last_error"] else ""
            return f"waits until {clean(row['next_attempt_at'])}{error}"


EPILOG = """Examples:

    python -m reactor status

    python -m reactor status --json | jq .backlog.oldest_due_seconds

    python -m reactor status --rebuild 0f8e2c1d-3b5a-4c6d-8e9f-a1b2c3d4e5f6"""

app = typer.Typer()
app.command(epilog=EPILOG)(status)
