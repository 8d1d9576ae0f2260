"""What `connections add` is given: a refresh token or a service account's key file, recognised before it is used."""

import sys
from dataclasses import dataclass, field
from pathlib import Path

import typer

from reactor.core.pasted import LONGEST_TOKEN, is_token, kind_of
from reactor.errors import ConfigurationError
from reactor.google.credentials import ServiceAccount
from reactor.google.key_file import LONGEST, read_key_file
from reactor.token_encryption import VERSION_1, VERSION_2

STDIN = "-"


@dataclass(frozen=True, slots=True)
class Credential:
    """What is to be stored.

    Attributes:
        secret: The text that is encrypted.
        version: The version of the encrypted text, `v1` or `v2`.
        who: The account, as a sentence begins with it.
        remedy: What to do where it may not write the calendar, as a sentence.
    """

    secret: str = field(repr=False)
    version: str
    who: str
    remedy: str


def refresh_token() -> Credential:
    """Read a refresh token from standard input; ask for it without an echo at a terminal.

    Raises:
        ConfigurationError: It is something else, and the sentence says what.
    """
    terminal = sys.stdin.isatty()
    text = typer.prompt("Refresh token", hide_input=True, err=True) if terminal else _all().decode("utf-8", "replace")
    token = str(text).removeprefix("\ufeff").strip()
    if not token:
        raise ConfigurationError(
            "There is no refresh token on standard input; pipe it in: `python -m reactor connections add … < file`."
        )
    if kind := kind_of(token):
        raise ConfigurationError(kind.sentence)
    if not is_token(token):
        raise ConfigurationError(
            "What came on standard input is no refresh token: it is one word, such as 1//0abc…, of at most "
            f"{LONGEST_TOKEN:,} characters."
        )
    return Credential(
        token,
        VERSION_1,
        "The account of this token",
        "Look at --calendar, share the calendar with the account, with the right to make changes to events, or take a "
        "token of the account that owns it.",
    )


def service_account(file: str, subject: str | None, calendar: str, token_uri: str) -> Credential:
    """Read a service account's key file, from standard input where it is named `-`.

    Args:
        file: Its path.
        subject: The user to act for, or None.
        calendar: The calendar that it is for.
        token_uri: The token endpoint that is configured.

    Raises:
        ConfigurationError: It cannot be used, and the sentence says why.
    """
    content, name = (_all(), "What came on standard input") if file == STDIN else (_content(file), file)
    robot = read_key_file(content, name, subject=_address(subject), token_uri=token_uri)
    if robot.subject == robot.email:
        raise ConfigurationError("--subject is the user to act for; leave it out where the service account is to act.")
    if robot.subject is None and calendar == "primary":
        raise ConfigurationError(
            f"--calendar primary is the service account's own calendar, which no person sees. Share a calendar with "
            f"{robot.email} and give its id, or name the user to act for with --subject."
        )
    return Credential(robot.text, VERSION_2, *_roles(robot))


def _roles(robot: ServiceAccount) -> tuple[str, str]:
    if robot.subject is None:
        return (
            f"The service account {robot.email}",
            "Share the calendar with this address, with the right to make changes to events, and look at --calendar.",
        )
    return (
        f"The user {robot.subject}",
        "Look at --calendar, or share the calendar with this user, with the right to make changes to events.",
    )


def _address(subject: str | None) -> str | None:
    if subject is None:
        return None
    name, _, domain = subject.partition("@")
    if not name or not domain or "@" in domain or not subject.isprintable() or " " in subject or len(subject) > 320:
        raise ConfigurationError("--subject is a user's e-mail address, such as ada@example.com.")
    return subject


def _all() -> bytes:
    """What comes on standard input, up to more than anything that is wanted."""
    return sys.stdin.buffer.read(LONGEST + 1)


def _content(path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            return file.read(LONGEST + 1)
    except OSError as error:
        raise ConfigurationError(
            f"--service-account: {path} cannot be read ({error.strerror}): look at its path."
        ) from None
    except ValueError:
        raise ConfigurationError("--service-account is the path of a file, or - for standard input.") from None
