"""`/connect/<invitation>` and `/connect/done`: a workspace's admin connects its calendar, without an account here.

Three steps. The link leads to a page that says whose calendar it is about; its button is a POST, so no other site can
press it. The answer binds the browser by a cookie and leads to Google, by a link: the policy of our pages lets a form
lead to our own pages only. Google sends the browser back to `/connect/done`, whose answer counts only with the cookie.
The account must be able to change the calendar of the invitation, and only then is anything stored.
"""

from functools import partial

import structlog
import trio

from reactor.console.console import Console
from reactor.console.page import Page, PageAnswer, PageCookie, PageRequest, VisitorRight
from reactor.console.pages.access.invite import consent_settings
from reactor.console.shared.asked_consents import SECONDS, AskedConsent
from reactor.desk.access import invitations
from reactor.desk.access.consents import consent_candidate, consent_client, granted_token
from reactor.errors import ConfigurationError, ReactorError
from reactor.google.consent import ask, denied

log = structlog.get_logger(__name__)

COOKIE = "console-connect"
_PATH = "/connect"
_REMEDY = (
    "Share the calendar with the account, with the right to make changes to events, or do it again with the account "
    "that owns it."
)
_OURS = "This console is not set up to ask Google: tell who invited you."


async def show(console: Console, asked: PageRequest) -> PageAnswer:
    """Say whose calendar it is about, and who invites."""
    secret = asked.path["invitation"]
    found = await console.database.read(lambda admin: invitations.landing(admin, secret), asked.cost)
    return PageAnswer(
        "connect.html", found, title="Connect a calendar", more={"url": None, "path": f"/connect/{secret}"}
    )


async def begin(console: Console, asked: PageRequest) -> PageAnswer:
    """Bind the browser to the invitation by a cookie, and lead to Google."""
    secret = asked.path["invitation"]
    found = await console.database.read(lambda admin: invitations.landing(admin, secret), asked.cost)
    try:
        client = consent_client(consent_settings(console))
    except ConfigurationError:
        raise ConfigurationError(_OURS) from None
    question = ask(client, f"{console.address}/connect/done", hint=_owner(found["calendar"]))
    cookie = console.consents.ask(secret, question, now=trio.current_time())
    return PageAnswer(
        "connect.html",
        found,
        title="Connect a calendar",
        more={"url": question.url, "path": f"/connect/{secret}"},
        cookie=PageCookie(COOKIE, cookie, _PATH, SECONDS),
    )


def _owner(calendar: str) -> str:
    """The account whose calendar it is, where its id is the account's address; other calendars are Google's by name."""
    return calendar if "@" in calendar and not calendar.endswith("calendar.google.com") else ""


async def finish(console: Console, asked: PageRequest) -> PageAnswer:
    """Take Google's answer: look at the calendar, and store the consent."""
    state, cookie = asked.query.get("state", ""), asked.cookies.get(COOKIE, "")
    consent = console.consents.take(state, cookie, now=trio.current_time()) if state else None
    if not state:
        return _said("Google leads back to this page: open the link of an invitation.", cookie=None, status=200)
    if consent is None:  # the cookie stays: a stranger's link must not take it away
        return _said(
            "This browser has no open question to Google, or too much time has passed: open the link of the "
            "invitation again, in the browser with which you consent.",
            cookie=None,
        )
    try:
        await _store(console, asked, consent)
    except ConfigurationError as error:
        log.warning("console_consent_failed", problem=str(error))
        return _said(_OURS)
    except ReactorError as error:
        return _said(str(error), again=f"/connect/{consent.invitation}")
    return _said("")


async def _store(console: Console, asked: PageRequest, consent: AskedConsent) -> None:
    """Store the consent.

    Raises:
        ConfigurationError: The console or its OAuth client is not set up for it.
        PermanentError: The person said no, the account is not the right one, or the invitation is no longer valid.
        TransientError: Google or the database does not answer.
    """
    settings = consent_settings(console)
    if "error" in asked.query:
        raise denied(asked.query["error"])
    found = await console.database.read(lambda admin: invitations.find(admin, consent.invitation), asked.cost)
    candidate = consent_candidate(settings, found["calendar"], _REMEDY)
    grant = partial(granted_token, settings, consent.question, asked.query.get("code", ""), candidate)
    token = await trio.to_thread.run_sync(grant, abandon_on_cancel=True)
    with trio.CancelScope(shield=True):
        await console.database.write(
            lambda admin: invitations.use(admin, consent.invitation, token, settings.token_cipher), asked.cost
        )


_FORGET = PageCookie(COOKIE, "", _PATH, 0)


def _said(problem: str, *, again: str = "", cookie: PageCookie | None = _FORGET, status: int = 422) -> PageAnswer:
    title = "Not connected" if problem else "Connected"
    document = {"connected": not problem, "problem": problem or None}
    more = {"again": again}
    return PageAnswer(
        "connect_done.html", document, title=title, status=status if problem else 200, more=more, cookie=cookie
    )


PAGE = Page("/connect/{invitation}", "Connect a calendar", show=show, act=begin, needs=VisitorRight.NONE, is_open=True)
DONE = Page("/connect/done", "Connect a calendar", show=finish, is_open=True)
