"""`/i/<id>/words`: an item's payload with its texts, for visitors who may read them; each look is an act."""

from shlex import quote

from reactor.console.console import Console
from reactor.console.page import Page, PageAnswer, PageRequest, VisitorRight, writing
from reactor.desk.rights import words
from reactor.desk.wording import as_json, clean
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession

_LONGEST = 20_000  # characters; Google takes no event whose texts are longer


async def show(console: Console, asked: PageRequest) -> PageAnswer:
    """Ask why; nothing is read."""
    del console
    return _answer(asked)


def look(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show the payload, and record the look."""
    payload = words(admin, asked.path["item"], asked.author)
    if payload is None:
        raise ConfigurationError(
            f"There is no item {asked.path['item']}: look whether its id is right; retention may have deleted it."
        )
    return _answer(asked, payload)


def _answer(asked: PageRequest, payload: object = None) -> PageAnswer:
    item = str(asked.path["item"])
    text = "" if payload is None else as_json(payload)
    reason = quote(asked.form["reason"].strip()) if asked.form.get("reason") else "…"
    return PageAnswer(
        "words.html",
        {"item": item} if payload is None else {"item": item, "payload": payload},
        command=f"python -m reactor dead-letters show {item} --show-texts --reason {reason}",
        more={
            "text": "\n".join(map(clean, text[:_LONGEST].split("\n"))),
            "longer": len(text) > _LONGEST,
        },
    )


PAGE = Page("/i/{item:uuid}/words", "Texts of an item", show=show, act=writing(look), needs=VisitorRight.READ_WORDS)
