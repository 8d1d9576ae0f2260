"""What waiting items have met when they were tried: why something waits that no count of what is due tells of.

A lane that is held back, such as for a token that no key decrypts, releases its items to a later time. So nothing of
it is ever due for long, and a look at what is due sees nothing.
"""

from typing import Any
from uuid import UUID

from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.statements import statements

WALKED = 1_000
"""Workspaces that are looked at: three look-ups each, of every look at the first page."""
REASONS = 5
"""Reasons that are returned, those of most workspaces."""

_SQL = statements("met")


def met(admin: AdminSession, workspace: UUID | None = None) -> list[dict[str, Any]]:
    """Return the reasons, of one workspace or of all: `error`, `workspaces`, one `workspace` of them, `waited`.

    `waited` is for how many seconds the oldest of the items has been there.
    """
    return admin.rows(_SQL["met"], workspace=workspace, cap=WALKED, top=REASONS)
