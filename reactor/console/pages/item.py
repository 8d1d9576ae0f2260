"""`/i/<id>`: one item: what has become of it, who has it, what would be sent, and what a requeue would do."""

from reactor.console.links import why_path
from reactor.console.page import Page, PageAnswer, PageRequest, in_session
from reactor.desk.items import item
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


PAGE = Page("/i/{item:uuid}", "Item", show=in_session(show))
