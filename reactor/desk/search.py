"""Finds what a person names by any id: an item, a workspace, or an event by all that the search of `explain` knows."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from reactor.core.explain.asked import read as understood
from reactor.desk import explanation
from reactor.postgres.chains import SQL
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.sources import MATCHES, workspaces_of

Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What was found; one of the first three has something, or nothing was found.

    Attributes:
        item: The item with this id.
        workspaces: The workspaces with this id, or that are connected to this calendar.
        sources: The events that may be meant: workspace, source, when it starts, the length of its title.
        has_more: Whether there are more.
        left_out: What was not searched, a sentence each.
    """

    item: UUID | None = None
    workspaces: list[UUID] = field(default_factory=list)
    sources: list[Document] = field(default_factory=list)
    has_more: bool = False
    left_out: list[str] = field(default_factory=list)


def search(admin: AdminSession, text: str, workspace: UUID | None = None) -> SearchResult:
    """Find what a person has typed or pasted.

    Args:
        admin: The session.
        text: An id of an item, a workspace, a source, an event or a calendar; a link; or words of a title.
        workspace: Where it is, for what is looked for in all workspaces otherwise.

    Raises:
        ConfigurationError: The text is empty, too long, or a link that holds no event; nothing is known of the
            workspace.
    """
    asked = understood(text)
    if asked.uuid:
        if admin.row(SQL["item"], id=asked.uuid):
            return SearchResult(item=asked.uuid)
        if admin.knows_workspace(asked.uuid):
            return SearchResult(workspaces=[asked.uuid])
    if asked.title and "@" in asked.title and (connected := workspaces_of(admin, asked.title, None)):
        return SearchResult(workspaces=connected, has_more=len(connected) >= MATCHES)
    found = explanation.find(admin, asked, workspace)
    shown = explanation.matches(found)
    return SearchResult(sources=shown[:MATCHES], has_more=len(shown) > MATCHES, left_out=found.left_out)
