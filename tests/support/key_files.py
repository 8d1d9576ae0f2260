"""Service accounts' key files: one key for the whole run, since making one takes a tenth of a second."""

import json
from functools import cache
from typing import Any

from calendar_emulator.oauth.service_accounts import ServiceAccounts
from reactor.google.credentials import ServiceAccount
from reactor.google.key_file import read_key_file

ROBOT = "robot@project.iam.gserviceaccount.com"


@cache
def _made() -> dict[str, Any]:
    return ServiceAccounts().add(ROBOT)


def key_file(**changes: Any) -> dict[str, Any]:
    """A key file as Google's console makes it, with changes; a field that is changed to None is left out."""
    return {name: value for name, value in (_made() | changes).items() if value is not None}


def robot(document: dict[str, Any], subject: str | None = None) -> ServiceAccount:
    """What is made of a key file."""
    return read_key_file(json.dumps(document).encode(), "key.json", subject=subject)


def secrets_of(document: dict[str, Any]) -> list[str]:
    """What of a key file must be seen nowhere: the lines of its key, and the numbers that are stored of it."""
    made = robot(document)
    stored = json.loads(made.text)
    lines = [line for line in str(document["private_key"]).splitlines() if "-----" not in line]
    return [*lines, stored["p"], stored["q"], str(made.p), str(made.q)]


@cache
def secrets() -> list[str]:
    """What of the one key must be seen nowhere."""
    return secrets_of(_made())
