"""A person's consent: the settings that it takes, and what is checked before it is stored."""

from reactor.errors import ConfigurationError
from reactor.google.consent import ConsentClient, ConsentQuestion, exchange
from reactor.google.endpoints import AUTH_URI, NO_CLIENT, TOKEN_URI
from reactor.google.trial import Candidate, require_calendar
from reactor.settings import DatabaseSettings, EncryptionSettings, GoogleSettings

_WHO = "The account that consented"


class ConsentSettings(EncryptionSettings, GoogleSettings, DatabaseSettings):
    """All settings that a consent needs, so that all problems are reported before a person is asked anything."""


def consent_client(settings: ConsentSettings) -> ConsentClient:
    """The OAuth client to which people consent.

    Raises:
        ConfigurationError: There is none, or two addresses do not belong together.
    """
    if settings.google_client_id == NO_CLIENT:
        raise ConfigurationError(
            "GOOGLE_CLIENT_ID is none, which says that there are service accounts only; a person consents to an OAuth "
            "client: set GOOGLE_CLIENT_ID and GOOGLE_CLIENT_SECRET, or use "
            "`python -m reactor connections add --service-account`."
        )
    if settings.google_auth_uri == AUTH_URI and settings.google_token_uri != TOKEN_URI:
        raise ConfigurationError(
            "GOOGLE_AUTH_URI is Google's and GOOGLE_TOKEN_URI is not: a code of one is nothing to the other. Set "
            "GOOGLE_AUTH_URI too; the emulator prints it."
        )
    return ConsentClient(
        settings.google_client_id,
        settings.google_client_secret.get_secret_value(),
        settings.google_auth_uri,
        settings.google_token_uri,
    )


def consent_candidate(settings: ConsentSettings, calendar: str, remedy: str) -> Candidate:
    """What must be true of the account that consented.

    Args:
        settings: Where Google is.
        calendar: The calendar that it must be able to change.
        remedy: What to do where it may not, as a sentence.
    """
    return Candidate(_WHO, remedy, calendar, settings.google_api_root)


def granted_token(settings: ConsentSettings, question: ConsentQuestion, code: str, candidate: Candidate | None) -> str:
    """Turn the code of a consent into a refresh token, and make sure that its account may change the calendar; blocks.

    Args:
        settings: Where Google is, and who we are.
        question: What was asked.
        code: What came back.
        candidate: What must be true of the account; None to ask nothing.

    Raises:
        ConfigurationError, PermanentError, TransientError: As `exchange` and `require_calendar`.
    """
    granted = exchange(consent_client(settings), question, code)
    if candidate is not None:
        require_calendar(granted.access_token, candidate)
    return granted.refresh_token
