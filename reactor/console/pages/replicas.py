"""`/replicas`: which replicas work, what each reported last, how they differ, and who keeps a lock."""

from reactor.console.page import Page, PageAnswer, PageRequest, in_session
from reactor.console.trends import activity_charts, in_words
from reactor.desk.pulses import DAY, HOUR, activity
from reactor.desk.replicas import CAP, LISTED, LONG, replica_status
from reactor.postgres.connection.admin import AdminSession


def show(admin: AdminSession, asked: PageRequest) -> PageAnswer:
    """Show the replicas, and the last hour or, with `?hours=24`, day."""
    hours = DAY if asked.query.get("hours") == str(DAY) else HOUR
    now = asked.now.astimezone()
    trend = activity(admin, hours=hours, now=now)
    return PageAnswer(
        "replicas.html",
        {**replica_status(admin, now), "trend": trend},
        command="python -m reactor status",
        more={
            "cap": CAP,
            "charts": activity_charts(trend),
            "said": in_words(trend),
            "hours": hours,
            "listed": LISTED,
            "long": LONG,
        },
    )


PAGE = Page("/replicas", "Replicas", show=in_session(show), in_menu=True)
