"""Finds the source that a person names, as `reactor.core.explain.asked` has understood them.

An item's id and a source's name with its workspace are looked up. For everything else we search a limited number of
rows, so that it takes a second at most, however large the tables are. If that was not all of them, the result says so.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from reactor.core.calendar.ids import digest_of
from reactor.core.explain.asked import Asked
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.explain.chains import DEAD, RECENT, SQL, by_index, titles_in_view, view_rows

WORKSPACES = 10_000
"""Workspaces that are looked through."""
ROWS = 100_000
"""Bindings, and remembered sources, that are looked through for an event or a title."""
BRIEF_WORKSPACES, BRIEF_ROWS, BRIEF_RECENT = 5_000, 20_000, 3_000
"""The same for a page, which should take a fifth of a second; and dead and finished rows that are looked through."""
MATCHES = 20
"""Matches that are reported."""


@dataclass(frozen=True, slots=True)
class Match:
    """A source that may be meant.

    Attributes:
        workspace: Its workspace.
        source: Its name there; an item's id where the item has no source.
        item: The row that was asked for.
        title: The event's title, where that was asked for.
        starts: When the event starts, as it is written.
    """

    workspace: UUID
    source: str
    item: UUID | None = None
    title: str | None = field(default=None, repr=False)
    starts: str | None = None


@dataclass(frozen=True, slots=True)
class SourceSearch:
    """The result of a search.

    Attributes:
        matches: The sources that may be meant, `MATCHES` + 1 where there are more.
        left_out: What was not searched, a sentence each.
    """

    matches: list[Match]
    left_out: list[str] = field(default_factory=list)


def find(admin: AdminSession, asked: Asked, workspace: UUID | None, *, brief: bool = False) -> SourceSearch:
    """Find the sources that may be meant, in one workspace or in all.

    Args:
        admin: The session.
        asked: What was asked for.
        workspace: Where it is.
        brief: Whether it is for a page: then less is looked through.

    Raises:
        ConfigurationError: What was asked for is a rebuild.
    """
    with by_index(admin):
        return _find(admin, asked, workspace, brief=brief)


def _find(admin: AdminSession, asked: Asked, workspace: UUID | None, *, brief: bool) -> SourceSearch:
    rows = BRIEF_ROWS if brief else ROWS
    if asked.uuid:
        item = admin.row(SQL["item"], id=asked.uuid)
        if item and workspace in (None, item["workspace"]):
            _require_event(item)
            return SourceSearch([Match(item["workspace"], item["source"], item["id"])])
        return _by_uuid(admin, asked.uuid, _Area.of(admin, workspace, brief=brief))
    if asked.source:
        if workspace:
            return SourceSearch([Match(workspace, asked.source)])
        source_type, _, source_id = asked.source.partition(":")
        return _by_keys(admin, [asked.source], _Area.of(admin, None, brief=brief), source_type, source_id)
    if asked.event_id:
        return _by_event(admin, asked.event_id, workspace, rows)
    return _by_title(admin, asked.title or "", workspace, rows)


def workspaces_of(admin: AdminSession, calendar_id: str | None, workspace: UUID | None) -> list[UUID]:
    """The workspaces by whose credentials a calendar may be asked."""
    if workspace or calendar_id is None:
        return [workspace] if workspace else []
    found = admin.rows(SQL["of_calendar"], calendar=calendar_id, rows=ROWS, matches=MATCHES)
    return [row["workspace"] for row in found]


def _require_event(item: dict[str, Any]) -> None:
    if item["operation"] == "REBUILD_ALL":
        raise ConfigurationError(
            f"Item {item['id']} is a REBUILD_ALL, which is about all events of its workspace: see "
            f"`python -m reactor status --rebuild {item['id']}`, or name one event."
        )


def _by_uuid(admin: AdminSession, uuid: UUID, area: "_Area") -> SourceSearch:
    """By a source's id alone: with each kind of source that there is."""
    types = [row["source_type"] for row in admin.rows(SQL["source_types"], workspaces=area.workspaces)]
    return _by_keys(admin, [f"{each}:{uuid}" for each in types], area, None, str(uuid))


def _by_keys(
    admin: AdminSession, keys: list[str], area: "_Area", source_type: str | None, source_id: str
) -> SourceSearch:
    rows = admin.rows(
        SQL["places"],
        workspaces=area.workspaces,
        keys=keys,
        dead=min(DEAD, area.recent),
        recent=area.recent,
        matches=MATCHES + 1,
    )
    matches = {(row["workspace"], row["source"]): Match(row["workspace"], row["source"]) for row in rows}
    wanted, _ = view_rows(admin, source_id, source_type, area.only)
    for row in wanted:
        source = f"{row['event'].get('source_type')}:{row['event'].get('source_id')}"
        matches.setdefault((row["workspace"], source), Match(row["workspace"], source))
    return SourceSearch(list(matches.values()), area.left_out)


@dataclass(frozen=True, slots=True)
class _Area:
    """Where we search: in one workspace, or in all, up to a limit."""

    workspaces: list[UUID]
    recent: int
    only: UUID | None = None
    left_out: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, admin: AdminSession, workspace: UUID | None, *, brief: bool) -> "_Area":
        recent = BRIEF_RECENT if brief else RECENT
        if workspace:
            return cls([workspace], recent, workspace)
        most = BRIEF_WORKSPACES if brief else WORKSPACES
        found = [row["workspace"] for row in admin.rows(SQL["workspaces"], most=most, brief=brief)]
        more = [f"there are over {most:,} workspaces: name one with --workspace"]
        return cls(found[:most], recent, None, more if len(found) > most else [])


def _by_event(admin: AdminSession, event_id: str, workspace: UUID | None, most: int) -> SourceSearch:
    rows = admin.rows(
        SQL["of_event"],
        workspace=workspace,
        event=event_id,
        digest=digest_of(event_id),
        rows=most + 1,
        open=DEAD,
        dead=DEAD,
        matches=MATCHES + 1,
    )
    looked = rows[0]["looked"]
    matches = [Match(row["workspace"], row["source"]) for row in rows if row["source"] is not None]
    left_out = [f"only {most:,} remembered events were compared: name the --workspace, or ask Google with --google"]
    return SourceSearch(matches, left_out if looked > most and not matches else [])


def _by_title(admin: AdminSession, title: str, workspace: UUID | None, most: int) -> SourceSearch:
    if admin.hides_texts:
        return SourceSearch([], ["this login may not read titles"])
    rows = admin.rows(
        SQL["of_title"], workspace=workspace, title=title, rows=most, open=DEAD, dead=DEAD, matches=MATCHES + 1
    )
    wanted, problem = titles_in_view(admin, title, workspace, MATCHES + 1)
    matches = {
        (row["workspace"], row["source"]): Match(
            row["workspace"], row["source"], title=row["title"], starts=row["starts"]
        )
        for row in (*rows, *wanted)
    }
    left_out = [f"what the application wants was not searched: {problem}"] if problem else []
    if not matches and admin.one(SQL["more_bindings"], workspace=workspace, rows=most)["more"]:
        left_out.append(f"only {most:,} events were: name the --workspace")
    return SourceSearch(list(matches.values()), left_out)
