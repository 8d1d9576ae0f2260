"""Addresses of pages that other pages link to."""

import re
from uuid import UUID

_PLAIN = re.compile(r"[A-Za-z0-9_.~:-]{1,200}")


def item_path(item: UUID) -> str:
    """The page of an item."""
    return f"/i/{item}"


def why_path(workspace: UUID, source: str) -> str:
    """The page that says why a source's event is in its calendar or is not; "" for what is no name of a source."""
    return f"/w/{workspace}/s/{source}" if _PLAIN.fullmatch(source) else ""
