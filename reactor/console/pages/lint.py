"""`/lint`: what the application writes, checked as the reactor will check it; and a payload that a person pastes.

Both checks are POST, because they take longer than a page should. They change nothing, so every visitor may use them.
"""

from reactor.console.console import Console
from reactor.console.letter_query import read_workspace
from reactor.console.page import Page, PageAnswer, PageRequest, VisitorRight
from reactor.desk.lint import CAP, NEWEST, lint, lint_payload

_COMMAND = "python -m reactor lint"
_MORE = {"report": None, "pasted": None, "text": "", "workspace": "", "cap": CAP, "newest": NEWEST}


async def show(console: Console, asked: PageRequest) -> PageAnswer:
    """Show the forms."""
    del console
    return PageAnswer("lint.html", {}, command=_COMMAND, more={**_MORE, "workspace": asked.query.get("workspace", "")})


async def look(console: Console, asked: PageRequest) -> PageAnswer:
    """Check the database, or the payload that came with the form."""
    if "payload" in asked.form:
        text = asked.form["payload"]
        said = lint_payload(text.encode())
        command = f"{_COMMAND} --payload FILE"
        return PageAnswer("lint.html", said, command=command, more={**_MORE, "pasted": said, "text": text})
    given = asked.form.get("workspace", "").strip()
    workspace = read_workspace(given) if given else None
    report = await console.database.read(lambda admin: lint(admin, workspace), asked.cost)
    document = report.document()
    command = f"{_COMMAND} --workspace {workspace}" if workspace else _COMMAND
    return PageAnswer("lint.html", document, command=command, more={**_MORE, "report": document, "workspace": given})


PAGE = Page("/lint", "Lint", show=show, act=look, needs=VisitorRight.NONE, in_menu=True)
