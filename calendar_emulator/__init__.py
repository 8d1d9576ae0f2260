"""A Google Calendar in memory: the API, its batch endpoint and its token endpoint, with faults on demand."""

from calendar_emulator.emulator import Emulator
from calendar_emulator.faults import Fault, Rule
from calendar_emulator.http.app import WireFaultError, application
from calendar_emulator.http.server import serve
from calendar_emulator.http.service import Service
from calendar_emulator.log import Exchange
from calendar_emulator.oauth.endpoints import CLIENT_ID, CLIENT_SECRET, EVENTS_SCOPE
from calendar_emulator.quota import Quota
from calendar_emulator.settings import Settings
from calendar_emulator.store.calendars import Calendar, Write, WriteKind

__all__ = [
    "CLIENT_ID",
    "CLIENT_SECRET",
    "EVENTS_SCOPE",
    "Calendar",
    "Emulator",
    "Exchange",
    "Fault",
    "Quota",
    "Rule",
    "Service",
    "Settings",
    "WireFaultError",
    "Write",
    "WriteKind",
    "application",
    "serve",
]
