"""A tour of the console: what an operator presses, from "something is wrong" to "it is mended".

    python -m tools.console_tour

starts PostgreSQL, an emulated Google, a reactor and a console, and makes one fault after another. Each time an operator
in Chromium begins at the first page and presses what is visible there, until the page says that it is mended; then the
calendars are compared with the application. The table and the pictures of docs/console.md are from here. It takes some
five minutes, most of which are the faults' own.

The first five are those of docs/reference/tour.md, and the rest are those for which docs/operations.md has something to
do on a page. `python -m tools.console_tour brake` takes one alone, and leaves the document as it is.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio
from playwright.sync_api import Browser, sync_playwright

from calendar_emulator import Fault
from reactor.demo.database import demo_database
from reactor.postgres.setup.embedded import EmbeddedPostgres, embedded_postgres
from tools.tour_operator import ARGUMENTS, CHROMIUM, TourOperator, TourSteps
from tools.tour_world import TEAM, TourWorld, tour_world

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "console.md"
PICTURES = DOCUMENT.parent / "pictures"
BEGIN, END = "<!-- made by `python -m tools.console_tour`; begin -->\n", "<!-- end of the tour -->"
REASON = "INC-7"
_OTHER_KEY = "k2:" + "B" * 43 + "="
_LONG = 150.0  # seconds: what items have met is said when they are a minute old

to_world = trio.from_thread.run
"""Does something in the world's own loop, and waits for it."""
in_world = trio.from_thread.run_sync


def google_fails(operator: TourOperator, world: TourWorld) -> None:
    """Google answers 503: the page says so, that nothing is lost, and when it is over."""
    outage = in_world(world.emulator.fault, Fault(effect="error", status=503, reason="backendError"))
    for account in world.accounts:
        to_world(world.edit, account, 3)
    operator.wait("^Something is wrong: .*Google failed", _LONG)
    operator.begin()
    operator.picture("google-fails")
    operator.press("Items of 4 workspaces have waited")
    operator.see("the states are")
    in_world(world.emulator.faults.remove, outage)
    operator.press("Now")
    operator.wait("^All is well", _LONG)


def google_limits(operator: TourOperator, world: TourWorld) -> None:
    """Google limits the rate: nothing has to be done, and the workspace's page says why it waits."""
    account = world.accounts[0]
    limit = Fault(calendar=account.calendar_id, effect="error", reason="rateLimitExceeded")
    rule = in_world(world.emulator.fault, limit)
    to_world(world.edit, account, 10)
    operator.wait("^All is well: 10 items wait", _LONG)
    operator.begin()
    operator.press("Workspaces")
    operator.press(str(account.workspace_id))
    operator.see("rate limited")
    operator.picture("google-limits")
    in_world(world.emulator.faults.remove, rule)
    operator.press("Now")
    operator.wait("^All is well: nothing waits", _LONG)


def consent_is_revoked(operator: TourOperator, world: TourWorld) -> None:
    """A person took the consent back: the operator sends a link, and the person connects again."""
    account = world.accounts[1]
    in_world(world.emulator.oauth.revoke, account.refresh_token)
    to_world(world.edit, account, 3)
    operator.wait("^It works, and needs a person: 1 workspace without a valid connection", _LONG)
    operator.begin()
    operator.press("1 workspace without a valid connection")
    operator.press("invite")
    operator.type("Reason", REASON)
    operator.press("Make a link", "button")
    link = operator.text_of("The link to send")
    operator.picture("invitation")
    guest = operator.other(link)  # by mail, say
    guest.picture("guest")
    guest.press("Connect this calendar", "button")
    guest.press("Go on at Google")
    guest.see("^Thank you")
    operator.add(guest)
    operator.press("Now")
    operator.wait("^All is well", _LONG)


def database_restarts(operator: TourOperator, world: TourWorld) -> None:
    """The database is away: the page says so, and comes back with it."""
    to_world(world.stop_database)
    operator.wait("^Not renewed, since", _LONG)
    operator.begin()
    operator.press("Now")
    operator.see("^The database does not answer")
    to_world(world.start_database)
    operator.wait("^All is well", _LONG)
    to_world(world.edit, world.accounts[2], 1)


def key_is_missing(operator: TourOperator, world: TourWorld) -> None:
    """The service was restarted with a new key alone: the page names the key that it lacks."""
    to_world(world.stop_reactor)
    to_world(partial(world.start_reactor, TOKEN_ENCRYPTION_KEYS=_OTHER_KEY))
    to_world(world.edit, world.accounts[0], 3)
    operator.wait("^Something is wrong: .*cannot be decrypted", _LONG)
    operator.begin()
    operator.picture("key-is-missing")
    operator.press("Items of a workspace have waited")
    operator.see("^demo$")
    to_world(world.stop_reactor)  # what the page says: the key that it names behind the new one
    keys = f"{_OTHER_KEY},{world.google.keys}"
    to_world(partial(world.start_reactor, TOKEN_ENCRYPTION_KEYS=keys))
    operator.press("Now")
    operator.wait("^All is well", _LONG)


def calendar_is_gone(operator: TourOperator, world: TourWorld) -> None:
    """A calendar is not shared any more: it is shared again, and what has died is put back."""
    account = world.accounts[-1]
    in_world(world.emulator.share, TEAM, world.address_of(account), None)
    to_world(world.edit, account, 5)
    operator.wait("^It works, and needs a person: 5 dead letters", _LONG)
    operator.begin()
    operator.press("5 dead letters")
    operator.see("^The calendar is gone, or not shared")
    operator.picture("dead-letters")
    in_world(world.emulator.share, TEAM, world.address_of(account), "writer")  # what the page says
    operator.press("forecast for CALENDAR_GONE")
    operator.see("will be sent")
    operator.type("Reason", REASON)
    operator.press("Put 5 back", "button")
    operator.wait("^done, 5 of 5", _LONG)
    operator.press("Now")
    operator.wait("^All is well", _LONG)


def brake_stops(operator: TourOperator, world: TourWorld) -> None:
    """Most of a workspace's plans were deleted: the brake has stopped it, and it is meant."""
    account = world.accounts[2]
    to_world(world.delete, account, 30)
    operator.wait("^It works, and needs a person: the brake has stopped 1 workspace", _LONG)
    operator.begin()
    operator.press("The brake has stopped 1 workspace")
    operator.press("look at what would be deleted")
    operator.see("30 of 35 events would have been deleted")
    operator.picture("brake")
    operator.type("Reason", REASON)
    operator.press("Release, and delete them", "button")
    operator.press("Now")
    operator.wait("^All is well: nothing waits", _LONG)


def event_is_deleted(operator: TourOperator, world: TourWorld) -> None:
    """A user misses an event: a person deleted it in the calendar, and a rebuild brings it back."""
    account = world.accounts[1]
    title = world.rows(account)[0].title
    [event] = [each for each in world.emulator.events(account.calendar_id) if each["summary"] == title]
    in_world(world.emulator.delete_by_hand, account.calendar_id, event["id"])
    operator.begin()
    operator.search(title)
    operator.press("Ask Google", "button")
    operator.see("a person removed it in the calendar")
    operator.picture("why")
    operator.press("What a rebuild would come to")
    operator.type("Reason", REASON)
    operator.press("Start the rebuild", "button")
    operator.wait("It is over", _LONG)
    operator.press("Compare the calendars with the application")
    operator.press("Compare", "button")
    operator.wait("^Calendar and application agree", _LONG)


@dataclass(frozen=True, slots=True)
class TourStop:
    """One fault of the tour.

    Attributes:
        name: How the command line calls it.
        title: What is wrong.
        walk: Makes the fault, and mends it as an operator does.
    """

    name: str
    title: str
    walk: Callable[[TourOperator, TourWorld], None]


STOPS = (
    TourStop("google-fails", "Google answers 503", google_fails),
    TourStop("google-limits", "Google limits the rate of a user", google_limits),
    TourStop("consent", "A consent is revoked", consent_is_revoked),
    TourStop("database", "The database restarts", database_restarts),
    TourStop("key", "The encryption key is missing", key_is_missing),
    TourStop("calendar", "A calendar is not shared any more", calendar_is_gone),
    TourStop("brake", "Most plans were deleted", brake_stops),
    TourStop("event", "A user misses an event", event_is_deleted),
)
"""In this order: each leaves the world well for the next."""


def tour(
    owner: str, folder: Path, stops: Sequence[TourStop], *, server: EmbeddedPostgres | None, pictures: Path | None
) -> list[TourSteps]:
    """Take it.

    Args:
        owner: A database of the demo.
        folder: For the processes' logs.
        stops: Which faults.
        server: The database's server, which one of the faults stops.
        pictures: Where pictures go; None for none.

    Raises:
        playwright.sync_api.Error: Something that an operator looks for is not to be seen.
        trio.TooSlowError: Calendar and application do not agree in the end.
    """

    async def main() -> list[TourSteps]:
        async with tour_world(owner, folder, server) as world:
            return await trio.to_thread.run_sync(partial(_walk, world, stops, pictures))

    return trio.run(main)


def _walk(world: TourWorld, stops: Sequence[TourStop], pictures: Path | None) -> list[TourSteps]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        return [_take(browser, world, stop, pictures) for stop in stops]


def _take(browser: Browser, world: TourWorld, stop: TourStop, pictures: Path | None) -> TourSteps:
    sys.stderr.write(f"{stop.title}\n")
    operator = TourOperator(browser, world.console.links[-1], pictures)
    operator.wait("^All is well", _LONG)
    stop.walk(operator, world)
    steps = operator.end()
    to_world(world.mended)
    operator.close()
    return steps


def table(stops: Sequence[TourStop], taken: Sequence[TourSteps]) -> str:
    """What was done, as the document has it."""
    head = "| fault | clicks | fields | seconds | of which waiting | what is pressed |\n|---|---|---|---|---|---|\n"
    return head + "".join(
        f"| {stop.title} | {len(steps.pressed)} | {steps.typed} | {steps.seconds:.1f} | {steps.waited:.1f} "
        f"| {', '.join(f'*{each}*' for each in steps.pressed)} |\n"
        for stop, steps in zip(stops, taken, strict=True)
    )


def main() -> None:
    """Take the whole tour and write it down, or take one stop of it."""
    names = sys.argv[1:]
    stops = [stop for stop in STOPS if not names or stop.name in names]
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, embedded_postgres() as server, demo_database(server.url()) as made:
        taken = tour(made.owner, Path(folder), stops, server=server, pictures=None if names else PICTURES)
    said = table(stops, taken)
    sys.stdout.write(said)
    if not names:
        head, rest = DOCUMENT.read_text().split(BEGIN)
        DOCUMENT.write_text(f"{head}{BEGIN}{said}{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
