"""The emulator's state with its controls and questions: everything a test needs, without HTTP."""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields

from calendar_emulator.api import CalendarApi
from calendar_emulator.errors import Json
from calendar_emulator.faults import Fault, FaultPlan, Rule
from calendar_emulator.log import RequestLog
from calendar_emulator.oauth.endpoints import EVENTS_SCOPE, OAuth
from calendar_emulator.quota import Quota
from calendar_emulator.settings import Settings
from calendar_emulator.store.calendars import ROLES, Calendar, Write, WriteKind

DEFAULT_KEEP = 100_000


class Emulator:
    """A Google Calendar in memory.

    Everything that happens is decided by the clock, the generator and the calls that come in; two emulators with the
    same ones answer the same.

    Attributes:
        clock: The time, in seconds since the epoch.
        rng: Where ids, tokens, shuffles and probabilities come from.
        oauth: Clients, consents and tokens, with their switches.
        api: The calendars.
        faults: The fault plan.
        log: The request log.
        settings: The switches; change its attributes.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float] = time.time,
        rng: random.Random | None = None,
        quota: Quota | None = None,
        keep: int = DEFAULT_KEEP,
    ) -> None:
        self.clock = clock
        self.rng = rng or random.Random()
        self.settings = Settings()
        self.oauth = OAuth(self.rng, self.settings)
        self.api = CalendarApi(self.oauth, quota or Quota(), self.settings, self.rng)
        self.faults = FaultPlan(self.rng)
        self.log = RequestLog(keep)

    @property
    def quota(self) -> Quota:
        """The limits in force; assign to replace them."""
        return self.api.quota

    @quota.setter
    def quota(self, quota: Quota) -> None:
        self.api.quota = quota

    # Controls

    def add_user(self, email: str, *, calendars: Iterable[str] = (), scopes: Iterable[str] = (EVENTS_SCOPE,)) -> str:
        """Create a user with a primary calendar (whose id is the address) and let them consent.

        Args:
            email: The user's address.
            calendars: Further calendars to own; created where they do not exist.
            scopes: What the consent allows.

        Returns:
            The refresh token.
        """
        for calendar_id in (email, *calendars):
            self.share(calendar_id, email, "owner")
        return self.oauth.grant(email, scopes=scopes)

    def add_service_account(self, email: str, *, delegated: Iterable[str] = ()) -> Json:
        """Create a service account; return the content of its key file. Its primary calendar is seen by no person.

        Args:
            email: Its address.
            delegated: Scopes for which it may act as any user; none: calendars must be shared with it.
        """
        self.share(email, email, "owner")
        return self.oauth.service_accounts.add(email, delegated=delegated)

    def add_calendar(self, calendar_id: str, *, time_zone: str = "UTC") -> Calendar:
        """Return a calendar, created if it does not exist."""
        if calendar_id not in self.api.calendars:
            self.api.calendars[calendar_id] = Calendar(
                calendar_id, time_zone=time_zone, ticker=self.api.ticker, now=self.clock()
            )
        return self.api.calendars[calendar_id]

    def share(self, calendar_id: str, email: str, role: str | None) -> Calendar:
        """Give a user a role (owner, writer, reader, freeBusyReader) in a calendar, or with None take it away.

        Raises:
            ValueError: There is no such role.
        """
        if role not in (None, *ROLES):
            raise ValueError(f"{role!r} is none of {', '.join(ROLES)}.")
        calendar = self.add_calendar(calendar_id)
        if role is None:
            calendar.roles.pop(email, None)
        else:
            calendar.roles[email] = role
        return calendar

    def remove_calendar(self, calendar_id: str) -> None:
        """Delete a calendar with all it holds."""
        del self.api.calendars[calendar_id]

    def issue_access_token(
        self, email: str, *, scopes: Iterable[str] = (EVENTS_SCOPE,), lifetime: float | None = None
    ) -> str:
        """Return an access token without a visit to the token endpoint."""
        return self.oauth.issue(email, self.clock(), scopes=scopes, lifetime=lifetime)

    def fault(self, fault: Fault) -> Rule:
        """Add a fault to the plan."""
        return self.faults.add(fault)

    def purge(self, calendar_id: str, event_id: str, *, status: int = 403) -> None:
        """Empty the trash of a deleted event: reviving it answers this status from now on, its id stays taken."""
        self.calendar(calendar_id).get(event_id).refusal = status

    def delete_by_hand(self, calendar_id: str, event_id: str) -> None:
        """Delete an event as a person in the calendar's own surface would."""
        self.calendar(calendar_id).delete(event_id, if_match=None, now=self.clock())

    def edit_by_hand(self, calendar_id: str, event_id: str, changes: Json) -> Json:
        """Change an event as a person in the calendar's own surface would; return it."""
        return self.calendar(calendar_id).patch(event_id, changes, if_match=None, now=self.clock())

    def expire_sync_tokens(self, calendar_id: str) -> None:
        """Let all sync tokens of a calendar that were given out so far answer 410."""
        calendar = self.calendar(calendar_id)
        calendar.revision += 1
        calendar.oldest_sync = calendar.revision

    def configure(self, settings: Settings) -> None:
        """Take over all switches from another object."""
        for field in fields(settings):
            setattr(self.settings, field.name, getattr(settings, field.name))

    def reset(self) -> None:
        """Empty all calendars and forget faults, log, quota and switches; accounts, roles and tokens stay."""
        for calendar_id, old in list(self.api.calendars.items()):
            del self.api.calendars[calendar_id]
            self.add_calendar(calendar_id, time_zone=old.zone.key).roles.update(old.roles)
        self.faults.clear()
        self.log.clear()
        self.quota = Quota()
        self.configure(Settings())

    # Questions

    def calendar(self, calendar_id: str) -> Calendar:
        """A calendar that exists.

        Raises:
            KeyError: It does not.
        """
        return self.api.calendars[calendar_id]

    def events(self, calendar_id: str) -> list[Json]:
        """What a person sees in a calendar now."""
        return list(self.calendar(calendar_id).live())

    def event(self, calendar_id: str, event_id: str) -> Json | None:
        """An event as it is now, also a cancelled one; None if it never existed."""
        record = self.calendar(calendar_id).records.get(event_id)
        return record.event if record else None

    def history(self, calendar_id: str, event_id: str) -> list[Write]:
        """All versions of an event, oldest first; empty if it never existed."""
        record = self.calendar(calendar_id).records.get(event_id)
        return list(record.writes) if record else []

    def writes(self, calendar_id: str) -> Mapping[str, Counter[WriteKind]]:
        """How many writes of each kind every event of a calendar got."""
        records = self.calendar(calendar_id).records
        return {event_id: Counter(write.kind for write in record.writes) for event_id, record in records.items()}
