"""Service accounts' key files: one key for the whole run, since making one takes a tenth of a second."""

from functools import cache
from typing import Any

from reactor.emulator.service_accounts import ServiceAccounts

ROBOT = "robot@project.iam.gserviceaccount.com"


@cache
def _made() -> dict[str, Any]:
    return ServiceAccounts().add(ROBOT)


def key_file(**changes: Any) -> dict[str, Any]:
    """A key file as Google's console makes it, with changes; a field that is changed to None is left out."""
    return {name: value for name, value in (_made() | changes).items() if value is not None}


def secrets() -> list[str]:
    """The lines of the key that must be seen nowhere."""
    return [line for line in str(_made()["private_key"]).splitlines() if "-----" not in line]
