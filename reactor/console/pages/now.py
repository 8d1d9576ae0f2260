"""`/`: is it well, what needs a person, what waits, what was done in the last hour, and which replicas work."""

from dataclasses import asdict

from reactor.console.page import Page, PageAnswer, PageRequest, of_snapshot
from reactor.console.snapshot import Snapshot
from reactor.console.trends import activity_charts, in_words
from reactor.console.verdict import judge_status
from reactor.desk.letters.dead_letters import CODES
from reactor.desk.outbox_status import CAP, COUNT, LISTED, PARKED

_SHOWN = 10  # of each list
_CLAIMS = "claims"  # in the name of one session of each replica


def show(snapshot: Snapshot, asked: PageRequest) -> PageAnswer:
    """Show the look that all visitors share."""
    del asked
    verdict = judge_status(snapshot.status, snapshot.met)
    said = {
        "kind": verdict.kind.value,
        "sentence": verdict.sentence,
        "reasons": [{**asdict(each), "kind": each.kind.value} for each in verdict.reasons],
    }
    return PageAnswer(
        "now.html",
        {"verdict": said, **snapshot.status, "met": snapshot.met, "activity": snapshot.activity},
        command="python -m reactor status",
        more={
            "charts": activity_charts(snapshot.activity),
            "hour": in_words(snapshot.activity),
            "taken_at": snapshot.taken_at,
            "cap": CAP,
            "count": COUNT,
            "codes": sorted(CODES),
            "listed": LISTED,
            "most_parked": PARKED,
            "shown": _SHOWN,
            "replicas": sum(_CLAIMS in each["application"] for each in snapshot.status["replicas"]),
        },
    )


PAGE = Page("/", "Now", show=of_snapshot(show), in_menu=True)
