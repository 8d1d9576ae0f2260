"""`/dead`: what dead letters have died of, how many, where, and since when."""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

from reactor.console.letter_query import DeadLetterQuery
from reactor.console.page import Page, PageAnswer, PageRequest, in_session
from reactor.console.verdict import ADVICE
from reactor.desk.letters import dead_letters
from reactor.desk.letters.dead_letters import AGES, CODES
from reactor.desk.wording import duration
from reactor.postgres.connection.admin import AdminSession

CAP = 10_000
"""Letters that a page counts, or a run takes in."""
LOOKS = 20_000
"""Letters that a page looks at, where their age matters."""
_LEADS = {
    "AUTH": {"path": "/connections?state=invalid", "title": "Invalid connections"},
    "EVENT_GONE": {"path": "/rebuilds/new", "title": "Start a rebuild"},
}
_PHRASE = re.compile(r"[\w .,:;()/'+-]{1,200}")  # an error as the reactor words it
_SHOWN = 25  # causes: a page has 64 kB at most (reactor/observability/server.py)
_HEIGHT = 20  # of the bars, as high as the widest letters of a line


def show(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show the causes of those that the filters leave."""
    query = DeadLetterQuery.of(asked.query)
    found = dead_letters.errors(admin, query.filter, cap=CAP, looks=LOOKS)
    causes = found["errors"]
    return PageAnswer(
        "dead.html",
        found,
        command=query.command("list"),
        more={
            "query": query.fields,
            "codes": sorted(CODES),
            "cap": CAP,
            "now": asked.now,
            "hidden": max(0, len(causes) - _SHOWN),
            "causes": [{**each, "bars": list(_bars(each["ages"])), **_paths(query, each)} for each in causes[:_SHOWN]],
            "all": query.path("/dead/requeue"),
            "leads": _LEADS,
            "advice": {each["code"]: ADVICE[each["code"]] for each in causes[:_SHOWN] if each["code"] in ADVICE},
        },
    )


def _paths(query: DeadLetterQuery, cause: dict[str, Any]) -> dict[str, str]:
    """Where a cause leads to: to nothing where its code is none that the reactor writes."""
    if cause["code"] not in CODES:
        return {"narrowed": "", "requeued": ""}
    error = cause["error"] if _PHRASE.fullmatch(cause["error"] or "") else ""
    return {
        "narrowed": query.path("/dead", code=cause["code"]),
        "requeued": query.path("/dead/requeue", code=cause["code"], error=error),
    }


def _bars(ages: list[int]) -> Iterator[dict[str, Any]]:
    """A bar for each span of ages, the youngest first; one that is not empty can be seen."""
    most = max(1, *ages)
    spans = [f"less than {duration(AGES[0])}", *(f"{duration(a)} to {duration(b)}" for a, b in pairwise(AGES))]
    for n, (items, span) in enumerate(zip(ages, [*spans, f"over {duration(AGES[-1])}"], strict=True)):
        height = max(2, round(_HEIGHT * items / most)) if items else 0
        yield {"items": items, "span": span, "x": 12 * n, "y": _HEIGHT - height, "height": height}


PAGE = Page("/dead", "Dead letters", show=in_session(show), in_menu=True)
