"""`/i/<id>`: one item: its history, which session has it, what would be sent, and what a requeue would do."""

from reactor.console.links import why_path
from reactor.console.page import NextPage, Page, PageAnswer, PageRequest, in_session, writing
from reactor.desk.letters.items import item
from reactor.desk.letters.requeue_run import requeue_one
from reactor.postgres.connection.admin import AdminSession


def show(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show an item in any state."""
    found = item(admin, asked.path["item"])
    return PageAnswer(
        "item.html",
        found,
        command=f"python -m reactor dead-letters show {found['id']}",
        more={
            "requeue": f"python -m reactor dead-letters requeue --id {found['id']}",
            "why": why_path(found["workspace"], found["source"]),
        },
    )


def requeue(admin: AdminSession, asked: PageRequest) -> NextPage:
    """Put an item back."""
    run = requeue_one(admin, asked.path["item"], asked.author)
    return NextPage(f"/acts/{run.act.id}")


PAGE = Page("/i/{item:uuid}", "Item", show=in_session(show), act=writing(requeue))
