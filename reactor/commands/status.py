"""`status`: how the outbox is, and how far a rebuild."""

from dataclasses import asdict
from typing import Annotated, Any
from uuid import UUID

import typer

from reactor.commands.options import AsJson, DatabaseUrl, OneWorkspace, read_dsn, read_id
from reactor.commands.output import at_least, clean, count, duration, print_facts, print_json, print_table, sentences
from reactor.core.refusals import advice
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession, open_admin_session
from reactor.postgres.lock_holders import holders
from reactor.postgres.statements import statements

SQL = statements("status")
CAP = 10_000  # rows that are counted of anything
CHILDREN = 100_000  # items of a rebuild that are counted
TOP = 5  # workspaces that are named
LISTED = 1_000  # workspaces in the document

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
            if workspace:
                admin.require_workspace(workspace)
            document = _rebuild(admin, rebuild, workspace) if rebuild else _outbox(admin, workspace)
    if as_json:
        print_json(document)
    elif rebuild:
        _show_rebuild(document)
    else:
        _show_outbox(document)


def _outbox(admin: AdminSession, workspace: UUID | None) -> Document:
    where = {"workspace": workspace}
    counts = admin.one(SQL["open_items"], **where, cap=CAP)
    capped, due = counts["open"] > CAP, counts.pop("due")
    dead = {row["code"]: row["n"] for row in admin.rows(SQL["dead"], **where, cap=CAP)}
    parked = admin.rows(SQL["parked"], **where, cap=CAP, top=LISTED)
    return {
        "items": {
            **counts,
            "later": counts["open"] - due,
            "capped": capped,
            "about": _about(admin) if capped and not workspace else None,
        },
        "in_hand": admin.one(SQL["processing_items"], **where, cap=CAP),
        "backlog": _backlog_of(admin, workspace),
        "parked": {**admin.one(SQL["connections"], **where, cap=CAP), "workspaces": parked},
        "stopped": admin.rows(SQL["stopped"], **where, top=LISTED),
        "set_aside": admin.rows(SQL["aside"], **where, cap=CAP),
        "dead_letters": {"codes": dead, "capped": sum(dead.values()) > CAP},
        "replicas": admin.rows(SQL["replicas"], cap=CAP),
        "held": [asdict(holder) for holder in holders(admin.connection) if holder.stands_out],
    }


def _backlog_of(admin: AdminSession, workspace: UUID | None) -> Document:
    """The workspaces with something due: how many, how long the oldest waits, and the worst of them."""
    due = admin.rows(SQL["due"], workspace=workspace, cap=CAP)
    worst = {row["workspace"]: row["waited"] for row in due[:TOP]}
    items = {row["workspace"]: row["due"] for row in admin.rows(SQL["due_items"], workspaces=list(worst), cap=CAP)}
    return {
        "oldest_due_seconds": max((row["waited"] or 0.0 for row in due), default=0.0),
        "workspaces": len(due),
        "capped": any(row["n"] >= CAP for row in due),
        "worst": [{"workspace": each, "waited": waited, "due": items[each]} for each, waited in worst.items()],
    }


def _about(admin: AdminSession) -> int:
    found = admin.row(SQL["estimate"])
    return int(found["about"]) if found else 0


def _show_outbox(document: Document) -> None:
    items, hand, backlog, parked = (document[part] for part in ("items", "in_hand", "backlog", "parked"))
    total = at_least(items["open"], CAP) + (f", about {items['about']:,}" if items["about"] else "")
    of_these = f"of the first {items['open']:,}: " if items["capped"] else ""
    workspaces = _many(len(parked["workspaces"]), LISTED, "workspace")
    waits = _many(sum(each["waiting"] for each in parked["workspaces"]), CAP, "item")
    print_facts(
        {
            "waiting": total,
            "": f"{of_these}{items['pending']:,} PENDING, {items['failed']:,} FAILED; {items['later']:,} not due yet",
            "oldest due": _backlog(backlog),
            "in flight": f"{at_least(hand['processing'], CAP)} PROCESSING; {count(hand['orphans'], 'orphan')}, "
            f"{hand['of_older_workers']:,} of an older worker",
            "parked": f"{waits} of {workspaces} without a valid connection",
            "connections": f"{at_least(parked['total'], CAP)}, of which {parked['invalid']:,} invalid",
            "dead letters": _dead(document["dead_letters"]),
            **_aside(document["set_aside"]),
            **_refused(document["replicas"]),
            **({} if document["replicas"] else {"replicas": "none is connected: nothing is sent"}),
        },
        title="Outbox",
    )
    if backlog["worst"]:
        rows = [(each["workspace"], _waited(each["waited"]), at_least(each["due"], CAP)) for each in backlog["worst"]]
        print_table(("workspace", "waits for", "due"), rows, title="\nWaiting longest")
    if parked["workspaces"]:
        shown = sorted(parked["workspaces"], key=lambda each: -each["waiting"])[:TOP]
        rows = [(e["workspace"], "invalid" if e["connected"] else "none", at_least(e["waiting"], CAP)) for e in shown]
        print_table(
            ("workspace", "connection", "waiting"),
            rows,
            title="\nParked: connect them again with `python -m reactor connect`",
        )
    if document["stopped"]:
        rows = [(e["workspace"], e["cause"], f"{e['deletes']:,} of {e['events']:,}") for e in document["stopped"]]
        more = f" ({at_least(len(rows), LISTED)} workspaces)" if len(rows) > TOP else ""
        title = f"\nStopped by the brake{more}: see `python -m reactor brake list`"
        print_table(("workspace", "cause", "would delete"), rows[:TOP], title=title)
    if document["replicas"]:
        _show_replicas(document["replicas"])
    if document["held"]:
        held = [(e["lock"].value, str(e["pid"] or "-"), e["application"], _held_for(e)) for e in document["held"]]
        title = "\nHeld for long: end these sessions or transactions, `select pg_terminate_backend(pid)`"
        print_table(("lock", "pid", "session", "since"), held, title=title)


def _backlog(backlog: Document) -> str:
    if not backlog["workspaces"]:
        return "nothing"
    workspaces = count(backlog["workspaces"], "workspace")
    some = f" of the first {CAP:,}" if backlog["capped"] else ""
    return f"{duration(backlog['oldest_due_seconds'])}, in {workspaces}{some}"


def _many(number: int, cap: int, noun: str) -> str:
    return f"over {cap:,} {noun}s" if number > cap else count(number, noun)


def _waited(seconds: float | None) -> str:
    return "ever" if seconds is None else duration(seconds)


def _dead(dead: Document) -> str:
    codes = ", ".join(f"{count:,} {clean(code)}" for code, count in dead["codes"].items())
    return (f"over {CAP:,}, of which at least " if dead["capped"] else "") + (codes or "none")


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
    total = at_least(sum(each["n"] for each in reasons), CAP)
    said = ", ".join(
        f"{each['n']:,} {each['sqlstate']}{' ' + clean(each['constraint']) if each['constraint'] else ''}"
        for each in reasons[:TOP]
    )
    return {"set aside": f"{total} that the database refuses to change: {said}; one is {reasons[0]['example']}"}


def _show_replicas(sessions: list[Document]) -> None:
    rows = [
        (
            each["application"].rpartition(" ")[2],
            str(each["pid"]),
            each["client"] or ("local" if each["since"] else "not shown to this role"),
            each["since"],
            "the gate: sleeps" if each["has_gate"] else _many(each["items"], CAP, "item") + _part(each),
        )
        for each in sessions
    ]
    print_table(("session", "pid", "client", "since", "has"), rows, title="\nReplicas")


def _part(session: Document) -> str:
    """The part of the quota that the session's replica uses."""
    return f", 1/{session['quota_divisor']} of the quota" if session["quota_divisor"] else ""


def _rebuild(admin: AdminSession, rebuild: UUID, workspace: UUID | None) -> Document:
    found = admin.row(SQL["rebuild"], id=rebuild)
    if found is None:
        raise ConfigurationError(
            f"There is no item {rebuild}: look whether it was mistyped; retention may have deleted it "
            "(CALENDAR_SYNC_RETENTION_DAYS)."
        )
    if found["operation"] != "REBUILD_ALL":
        raise ConfigurationError(f"Item {rebuild} is {found['operation']}, not REBUILD_ALL; give the rebuild's own id.")
    if workspace not in (None, found["workspace"]):
        raise ConfigurationError(f"Rebuild {rebuild} is of another workspace; leave --workspace out.")
    children = admin.rows(SQL["children"], id=rebuild, cap=CHILDREN)
    by_status: dict[str, int] = {}
    for child in children:
        by_status[child["status"]] = by_status.get(child["status"], 0) + child["n"]
    total = sum(by_status.values())
    done = by_status.get("COMPLETED", 0)
    dead = {child["code"] or "none": child["n"] for child in children if child["status"] == "DEAD_LETTER"}
    capped = total > CHILDREN
    over = found["status"] == "COMPLETED" and done + sum(dead.values()) == total and not capped
    overtaken = sum(child["n"] for child in children if child["code"] == "SUPERSEDED")
    return {
        "rebuild": found,
        "expanded": found["status"] == "COMPLETED",
        "over": over,
        "children": {
            "total": total,
            "done": done,
            "overtaken": overtaken,
            "capped": capped,
            "by_status": by_status,
            "dead": dead,
        },
    }


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
            "events": f"{done + dead:,} of {at_least(total, CHILDREN)} settled{share}, {left:,} to go",
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
