"""The demo's Google: an account and a calendar for each workspace, with something in it that is not ours."""

import base64
import copy
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from calendar_emulator import Emulator, Fault
from reactor.demo.sample import Schedule
from reactor.postgres.connection.session import Session
from reactor.token_encryption import TokenCipher

_LATENCY = 0.04  # seconds; what Google usually takes, once for a batch
_FOREIGN = (
    {"summary": "Dentist", "start": {"date": "2024-05-08"}, "end": {"date": "2024-05-09"}},
    {
        "summary": "Lunch",
        "start": {"dateTime": "2024-05-08T12:00:00Z"},
        "end": {"dateTime": "2024-05-08T13:00:00Z"},
    },
)


@dataclass(slots=True)
class DemoAccount:
    """A workspace's connection to Google.

    Attributes:
        calendar_id: The calendar, which is also the user's address.
        refresh_token: The consent that is stored at present.
    """

    workspace_id: UUID
    name: str
    calendar_id: str
    refresh_token: str


class Google:
    """The accounts at the emulator, and how they are connected in the database.

    Attributes:
        emulator: The Google Calendar in memory.
        accounts: One for each workspace.
        keys: A value for TOKEN_ENCRYPTION_KEYS, new in each run.
        foreign: The events that people made themselves, by calendar, as they were at the beginning.
    """

    def __init__(self, emulator: Emulator, workspaces: Mapping[UUID, Schedule]) -> None:
        self.emulator = emulator
        emulator.fault(Fault(in_batch=False, latency=_LATENCY))
        self.keys = f"demo:{base64.b64encode(os.urandom(32)).decode()}"
        self._cipher = TokenCipher.from_setting(self.keys)
        self.accounts = [_account(emulator, id_, schedule.version) for id_, schedule in workspaces.items()]
        self.foreign = {account.calendar_id: _foreign(emulator, account) for account in self.accounts}

    async def connect(self, owner: Session) -> None:
        """Store the workspaces and their connections, as an administrator would."""
        for account in self.accounts:
            await owner.execute(
                "insert into workspaces (id, name) values (%s, %s)", (account.workspace_id, account.name)
            )
            await owner.execute(
                "insert into google_connections (workspace_id, calendar_id, refresh_token_encrypted) "
                "values (%s, %s, %s)",
                (account.workspace_id, account.calendar_id, self._sealed(account)),
            )

    async def reconnect(self, owner: Session, account: DemoAccount) -> None:
        """Store a new consent, as an administrator would after the old one was revoked."""
        account.refresh_token = self.emulator.oauth.grant(account.calendar_id)
        await owner.execute(
            "update google_connections set refresh_token_encrypted = %s, is_valid = true where workspace_id = %s",
            (self._sealed(account), account.workspace_id),
        )

    def _sealed(self, account: DemoAccount) -> str:
        return self._cipher.encrypt(account.workspace_id, account.refresh_token)


def _account(emulator: Emulator, workspace_id: UUID, version: str) -> DemoAccount:
    address = f"python-{version}@example.org"
    return DemoAccount(workspace_id, f"Python {version}", address, emulator.add_user(address))


def _foreign(emulator: Emulator, account: DemoAccount) -> list[dict[str, Any]]:
    calendar = emulator.calendar(account.calendar_id)
    now = datetime.now(UTC).timestamp()
    return [
        copy.deepcopy(calendar.insert(body, who=account.calendar_id, new_id=f"foreign{number}", now=now))
        for number, body in enumerate(_FOREIGN)
    ]
