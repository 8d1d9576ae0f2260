"""Dead letters: why they died, and what a requeue would do; `requeue_run` does it."""

import re
from collections import Counter
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from reactor.core.item import Oversized
from reactor.core.outcome import FailureCode
from reactor.core.payload import LARGEST, BadPayloadError, parse
from reactor.desk.acts import ActAuthor
from reactor.desk.letters.preview import preview
from reactor.desk.rights import words
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.statements import statements

SQL = statements("dead_letters")
CAP = 100_000
"""Letters that one look, or one requeue, takes in."""
READ = 200
"""Payloads that are read at a time."""
AGES = (600.0, 3_600.0, 21_600.0, 86_400.0, 604_800.0)
"""Seconds by which the ages of letters are counted: up to each of them, and beyond."""
CODES = frozenset({*FailureCode, "NONE"} - {FailureCode.SUPERSEDED})
"""What a letter may have died of; NONE is an older worker's."""
FATE_TEXTS = {
    "sent": "will be sent",
    "parked": "will wait for a valid connection",
    "behind": "will give way to the rebuild of their workspace, which brings the newest state of the same event",
    "refused": "will be dead letters again: the payload cannot be used "
    "(`python -m reactor dead-letters show ID` says why)",
    "outdated": "will be completed without being sent: a newer state was settled",
    "overtaken": "will be completed without being sent: a newer state waits or is put back too",
}
FATES = tuple(FATE_TEXTS)
"""What a requeue may come to for a letter: `requeue_outcomes` in dead_letters.sql says what each is."""
AGE_TEXT = "a number and a unit, such as 90s, 30m, 12h or 7d"
"""How an age is written."""
_AGE = re.compile(r"(\d{1,6})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """Selects dead letters; a field that is None selects all.

    Attributes:
        workspace: Those of this workspace.
        code: Those that died of this, one of `CODES`.
        before: Those that died before this time.
        age: Those that died longer ago than this.
        ids: These.
        error: Those that met this at last, word for word, as it is listed.
    """

    workspace: UUID | None = None
    code: str | None = None
    before: datetime | None = None
    age: timedelta | None = None
    ids: list[UUID] | None = None
    error: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing narrows it: all dead letters are meant."""
        return not any(asdict(self).values())


@dataclass(frozen=True, slots=True)
class RequeueForecast:
    """The expected result of a requeue, letter by letter, the newest state first.

    Attributes:
        ids: The letters.
        fates: How many letters have each of `FATES`.
        missing: How many of the given ids are no dead letters.
        is_cut: Whether there may be more letters than were taken in.
        unread: How many may have died of their payload, which was not read; they count as if it could be used.
    """

    ids: list[UUID]
    fates: Counter[str]
    missing: int = 0
    is_cut: bool = False
    unread: int = 0


def age_of(text: str) -> timedelta | None:
    """Read an age; None where it is not written as `AGE_TEXT` says."""
    match = _AGE.fullmatch(text)
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None


def causes(admin: AdminSession, which: LetterFilter, *, cap: int | None = None, looks: int | None = None) -> Document:
    """Dead letters by workspace, code and error, the most frequent cause first.

    Args:
        admin: The session.
        which: The letters that are meant.
        cap: How many of them are counted, and one more; `CAP` without it.
        looks: How many letters are looked at, of the workspace and the code; all without it.

    Raises:
        ConfigurationError: Nothing is known of the workspace.
    """
    if which.workspace:
        admin.require_workspace(which.workspace)
    cap = CAP if cap is None else cap
    found = admin.rows(SQL["by_cause"], **asdict(which), cap=cap, looks=looks)
    total = sum(cause["items"] for cause in found)
    return {"causes": found, "total": total, "capped": total > cap or _has_more(admin, which, looks)}


def errors(admin: AdminSession, which: LetterFilter, *, cap: int, looks: int) -> Document:
    """Dead letters by code and error, in whatever workspace, the most frequent first; `ages` counts by `AGES`.

    Args:
        admin: The session.
        which: The letters that are meant; ids are none of the filters here.
        cap: How many of them are counted, and one more.
        looks: How many letters are looked at, of the workspace and the code.

    Raises:
        ConfigurationError: Nothing is known of the workspace.
    """
    if which.workspace:
        admin.require_workspace(which.workspace)
    found = admin.rows(SQL["by_error"], **asdict(which), cap=cap, looks=looks, ages=list(AGES))
    for error in found:
        fallen: Counter[int] = Counter(error.pop("places"))
        error["ages"] = [fallen[place] for place in range(len(AGES) + 1)]
    total = sum(error["items"] for error in found)
    return {"errors": found, "total": total, "capped": total > cap or _has_more(admin, which, looks)}


def _has_more(admin: AdminSession, which: LetterFilter, looks: int | None) -> bool:
    """Whether there are letters that were not looked at."""
    if looks is None:
        return False
    more: bool = admin.one(SQL["has_more"], workspace=which.workspace, code=which.code, looks=looks)["more"]
    return more


def letter(admin: AdminSession, item: UUID, *, show_texts: bool = False, recorded: ActAuthor | None = None) -> Document:
    """An item in any state: its row, what would be sent (`preview`), and what a requeue would do (`requeue`).

    Args:
        admin: The session.
        item: Its id.
        show_texts: Whether texts are shown; of a login that may not read rows' texts, as dots.
        recorded: Who reads the texts, and why: then the look is an act, and a login that may read texts in this way
            only (db/console.sql) reads them.

    Raises:
        ConfigurationError: There is no such item, or the login may not read texts in this way either.
    """
    found = admin.row(SQL["dead_letter"], id=item, most=LARGEST)
    if found is None:
        raise ConfigurationError(
            f"There is no item {item}: look whether it was mistyped; retention may have deleted it "
            "(CALENDAR_SYNC_RETENTION_DAYS)."
        )
    if show_texts and recorded is not None:
        found["payload"] = words(admin, item, recorded)
    would = would_be_sent(found, show_texts=show_texts)
    fate = _fate(found, is_usable="nothing" not in would)
    row = {name: value for name, value in found.items() if name not in ("payload", "size")}
    return {**row, "preview": would, "requeue": fate}


def would_be_sent(found: Document, *, show_texts: bool) -> Document:
    """What would be sent for a row of `dead_letter`."""
    if found["size"] is not None and found["size"] > LARGEST:
        return {"nothing": f"the payload is too large: {found['size']:,} bytes"}
    return preview(found, found["payload"], show_texts=show_texts)


def _fate(letter: Document, *, is_usable: bool) -> str:
    if letter["status"] != "DEAD_LETTER":
        return f"not possible, it is {letter['status']}"
    if letter["seq"] < letter["floor"]:
        return "nothing is sent, a newer state of the source was settled"
    if letter["newer_waits"]:
        return "nothing is sent, a newer state of the source waits"
    if not is_usable:
        return "it is a dead letter again, the payload cannot be used: mend what writes the row"
    if not letter["connection_is_valid"]:
        return "it waits for a valid connection, then it is sent"
    if letter["open_rebuild"]:
        rebuild = f"`python -m reactor status --rebuild {letter['open_rebuild']}`"
        newest = "which brings the event's newest state"
        return f"it gives way to the workspace's rebuild, {newest} ({rebuild} says how far it is)"
    return "it is sent"


def forecast(
    admin: AdminSession,
    which: LetterFilter,
    *,
    cap: int | None = None,
    looks: int | None = None,
    payloads: int | None = None,
) -> RequeueForecast:
    """Forecast the result of a requeue of these letters.

    Args:
        admin: The session.
        which: The letters that are meant.
        cap: How many of them are taken in; `CAP` without it.
        looks: How many letters are looked at, of the workspace and the code; all without it.
        payloads: How many payloads are read, of letters that may have died of theirs; all without it.

    Raises:
        ConfigurationError: Nothing is known of the workspace.
    """
    if which.workspace:
        admin.require_workspace(which.workspace)
    cap = CAP if cap is None else cap
    outcomes = admin.rows(SQL["requeue_outcomes"], **asdict(which), cap=cap, looks=looks)
    unread = _ask_the_parser(admin, outcomes, payloads)
    missing = len(set(which.ids)) - len(outcomes) if which.ids else 0
    is_cut = len(outcomes) == cap or _has_more(admin, which, looks)
    fates = Counter(row["fate"] for row in outcomes)
    return RequeueForecast([row["id"] for row in outcomes], fates, missing, is_cut, unread)


def _ask_the_parser(admin: AdminSession, outcomes: list[Document], most: int | None) -> int:
    """Mark as refused what would be sent and has a payload that cannot be used; only suspects are looked at.

    Of so many at most; return how many are left.
    """
    suspects = {row["id"]: row for row in outcomes if row["suspect"] and row["fate"] in ("sent", "parked")}
    ids = list(suspects)[:most]
    for first in range(0, len(ids), READ):
        for row in admin.rows(SQL["payloads"], ids=ids[first : first + READ], most=LARGEST):
            try:
                parse(
                    row["operation"], row["workspace"], Oversized(row["size"]) if row["text"] is None else row["text"]
                )
            except BadPayloadError:
                suspects[row["id"]]["fate"] = "refused"
    return len(suspects) - len(ids)
