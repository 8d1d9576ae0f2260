"""A Google Calendar in memory: the API, its batch endpoint and its token endpoint, with faults on demand."""

from reactor.emulator.app import WireFaultError, application
from reactor.emulator.calendars import Calendar, Write, WriteKind
from reactor.emulator.emulator import Emulator
from reactor.emulator.faults import Fault, Rule
from reactor.emulator.log import Exchange
from reactor.emulator.oauth import CLIENT_ID, CLIENT_SECRET, EVENTS_SCOPE
from reactor.emulator.quota import Quota
from reactor.emulator.server import serve
from reactor.emulator.service import Service
from reactor.emulator.settings import Settings

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
