"""What a dialogue with Google has to know about its item."""

from dataclasses import field

from reactor.core.calendar import event, ids
from reactor.core.calendar.messages import PRIMARY, EventRef, RemoteEvent, is_etag, may_be_primary
from reactor.core.calendar.prune import PruneTarget
from reactor.core.payload import Cancel, Rebuild, Upsert
from reactor.core.value import value


@value(frozen=True, slots=True)
class SyncIntent:
    """One item: what is wanted, and what we remember of the source's event.

    Attributes:
        workspace_id: The row's workspace, a UUID in its usual spelling.
        source_key: The source's name in its workspace.
        seq: The state of the source that the row stands for; higher is newer.
        payload: What is wanted.
        generation: The generation of the source's event id.
        bound_event_id: The event that we last knew to exist, None where there is none.
        bound_calendar_id: The calendar that it is in.
        etag: Its version after our last write, None where it is not known (an event of an older worker).
        cancelled: Whether we removed the event ourselves, so that a tombstone is expected and may be revived.
        reopen: Whether the event may be brought back, also if a person removed it: for a rebuild, and where a cancel
            or a recreate of this source may have reached Google without being settled.
        recreate: Whether the bound event is to be removed and made anew under its next id. A move does that anyway.
        possible_calendars: Calendars in which the event may be too: attempts whose outcome was never settled were for
            them.
        repairs: Whether a newer state in the calendar is no reason to stand back. True for children of a rebuild: any
            newer open row would have been claimed first, so a newer state in the calendar has no row behind it (a
            restored backup).
    """

    workspace_id: str
    source_key: str
    seq: int
    payload: Upsert | Cancel | PruneTarget | Rebuild
    generation: int = 0
    bound_event_id: str | None = None
    bound_calendar_id: str | None = field(default=None, repr=False)
    etag: str | None = None
    cancelled: bool = False
    reopen: bool = False
    recreate: bool = False
    possible_calendars: tuple[str, ...] = field(default=(), repr=False)
    repairs: bool = False

    @property
    def bound(self) -> EventRef | None:
        """Where the event was when we last knew."""
        if self.bound_event_id is None or self.bound_calendar_id is None:
            return None
        return EventRef(self.bound_calendar_id, self.bound_event_id)

    @property
    def known_etag(self) -> str | None:
        """The bound event's version, if it can be named in a header."""
        return self.etag if is_etag(self.etag) else None

    @property
    def moves(self) -> bool:
        """Whether the event is in another calendar than the payload's, going by their names."""
        return self.bound_event_id is not None and self.bound_calendar_id not in (None, self.payload.calendar_id)

    @property
    def uncertain(self) -> bool:
        """Whether the two names may be names of one calendar (`reactor.core.calendar.naming` finds out).

        A remembered `primary` is looked for in any case: it may have been another account's.
        """
        bound = self.bound_calendar_id
        if bound == PRIMARY:
            return self.moves
        return self.payload.calendar_id == PRIMARY and self.moves and may_be_primary(str(bound))

    @property
    def of_unknown_account(self) -> bool:
        """Whether the bound event is remembered in `primary`, as older releases did: now that may be another account's.

        Only for an id of ours: Google accepts it once in a calendar, for ever, which tells the accounts apart.
        """
        return self.bound_calendar_id == PRIMARY and self.bound == self.place(PRIMARY, self.generation)

    @property
    def remakes(self) -> bool:
        """Whether the bound event has to give way to its next generation."""
        return self.recreate and self.bound is not None and not self.moves

    @property
    def may_revive(self) -> bool:
        """Whether a deleted event may come back, because we may have deleted it ourselves.

        A tombstone in a calendar that the event moves to was left there by an earlier move; one in the calendar where
        the event should be may have been made by a move that was never settled.
        """
        home = self.bound_calendar_id or self.payload.calendar_id
        unsettled_move = any(calendar_id != home for calendar_id in self.possible_calendars)
        return self.cancelled or self.reopen or self.recreate or self.moves or unsettled_move

    def place(self, calendar_id: str, generation: int) -> EventRef:
        """Where an event of ours of some generation is."""
        return EventRef(calendar_id, ids.event_id(self.workspace_id, self.source_key, generation))

    def after(self, place: EventRef, generation: int) -> int:
        """The generation to go on to where a place is of no use: an id that is not of our making comes before them."""
        return generation + 1 if place == self.place(place.calendar_id, generation) else generation

    def properties(self, generation: int) -> dict[str, str]:
        """The private properties of the event in the state that is wanted."""
        return event.properties(
            workspace_id=self.workspace_id, source_key=self.source_key, seq=self.seq, generation=generation
        )

    def names(self, place: EventRef, generation: int) -> bool:
        """Whether more than our own counting of ids says that the event at a place is ours.

        That is the memory, a binding or a payload that names it, or an attempt that was for its calendar.
        """
        counted = place == self.place(place.calendar_id, generation)
        return not counted or place == self.bound or place.calendar_id in self.possible_calendars

    def owns(self, found: RemoteEvent, *, named: bool) -> bool:
        """Whether an event is this source's.

        Our properties decide. An event without any is ours where something else says so (another program took ours
        away, an older worker wrote none), and where it is cancelled under an id that only we can have made: of a
        tombstone Google promises to keep no more than the id.
        """
        if found.workspace_id is None and found.source_key is None:
            return named or found.cancelled
        return (found.workspace_id, found.source_key) == (self.workspace_id, self.source_key)
