"""Checks whether Google can be reached, and accepts our client.

Google's calendar endpoint is asked without a token, its token endpoint with one that does not exist. Google looks at
the client's id and secret before it looks at the token, so its refusal shows whether those are right.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

import httpx

from reactor.desk.check.finding import CheckFinding, CheckVerdict, Findings, Given, clock
from reactor.errors import ConfigurationError
from reactor.google.endpoints import NO_CLIENT
from reactor.google.network import client_options, why
from reactor.settings import GoogleSettings

TIMEOUT = httpx.Timeout(10.0)


def findings(given: Given) -> Findings:
    """Look at the calendar endpoint, its clock, and the token endpoint."""
    try:
        settings = GoogleSettings.from_environment(**given)
    except ConfigurationError:
        yield CheckFinding("google", CheckVerdict.FAIL, "not looked at: a setting of it is missing or wrong, see above")
        return
    yield from _reached("google, calendar", "GOOGLE_API_ROOT", lambda: _calendar(settings))
    yield from _reached("google, tokens", "GOOGLE_TOKEN_URI", lambda: _tokens(settings))


def _reached(name: str, setting: str, look: Callable[[], Findings]) -> Findings:
    try:
        yield from look()
    except httpx.HTTPError as error:  # its text may contain the address, and says no more
        text = f"cannot be reached ({why(error)}): look at the network, at proxies, and at {setting}"
        yield CheckFinding(name, CheckVerdict.FAIL, text)


def _asked(method: str, url: str, form: dict[str, str] | None = None) -> httpx.Response:
    with httpx.Client(timeout=TIMEOUT, follow_redirects=False, **client_options(url)) as client:
        return client.request(method, url, data=form)


def _calendar(settings: GoogleSettings) -> Findings:
    answer = _asked("GET", f"{settings.google_api_root.rstrip('/')}/calendar/v3/calendars/primary/events")
    now = datetime.now(UTC)
    if answer.status_code in (401, 403):
        yield CheckFinding("google, calendar", CheckVerdict.OK, "reachable; asks for a token, as it should")
    else:
        text = f"answers {answer.status_code} where 401 is expected: is GOOGLE_API_ROOT right?"
        yield CheckFinding("google, calendar", CheckVerdict.FAIL, text)
    with _undated():
        yield clock("clock, google", parsedate_to_datetime(answer.headers["date"]) - now + timedelta(seconds=0.5))


@contextmanager
def _undated() -> Iterator[None]:
    """Skip the clock if the response has no readable date: a server that stands in for Google need not send one."""
    try:
        yield
    except (KeyError, ValueError, TypeError):
        return


def _tokens(settings: GoogleSettings) -> Findings:
    if settings.google_client_id == NO_CLIENT:
        _asked("POST", settings.google_token_uri)  # any answer will do: the server is there
        yield CheckFinding(
            "google, tokens", CheckVerdict.OK, "reachable; GOOGLE_CLIENT_ID is none, for service accounts only"
        )
        return
    form = {
        "grant_type": "refresh_token",
        "refresh_token": "1//none",
        "client_id": settings.google_client_id,
        "client_secret": settings.google_client_secret.get_secret_value(),
    }
    answer = _asked("POST", settings.google_token_uri, form)
    match _error(answer):
        case "invalid_grant":
            finding = CheckVerdict.OK, "reachable, and accepts our client id and secret"
        case "invalid_client" | "unauthorized_client" | "deleted_client" | "disabled_client" as error:
            advice = "compare GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET with Google's console"
            finding = CheckVerdict.FAIL, f"refuses our client ({error}): {advice}"
        case error:
            text = f"answers {answer.status_code} ({error}), which does not tell whether our client is right"
            finding = CheckVerdict.WARN, f"{text}: try again, and look at GOOGLE_TOKEN_URI"
    yield CheckFinding("google, tokens", *finding)


def _error(answer: httpx.Response) -> str:
    """The error's name; only what looks like one."""
    try:
        error = answer.json()["error"]
    except (ValueError, LookupError, TypeError):
        return "no error that could be read"
    return error if isinstance(error, str) and error.isidentifier() else "an unknown error"
