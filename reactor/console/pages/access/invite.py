"""`/connections/<workspace>/invite`: makes a link by which the workspace's admin connects its calendar.

The link is in the answer to the act, and nowhere else: the database has a hash of it.
"""

from shlex import quote
from typing import Any
from uuid import UUID

from reactor.console.console import Console
from reactor.console.page import NextPage, Page, PageAnswer, PageRequest
from reactor.core.calendar.messages import PRIMARY
from reactor.desk.access import invitations
from reactor.desk.access.consents import ConsentSettings, consent_client
from reactor.desk.access.invitations import HOURS, Invitation
from reactor.desk.connections import SQL as CONNECTIONS
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession


def consent_settings(console: Console) -> ConsentSettings:
    """The settings of a consent.

    Raises:
        ConfigurationError: This console does not have it.
    """
    settings = ConsentSettings.from_environment(**console.given)
    consent_client(settings)
    return settings


async def show(console: Console, asked: PageRequest) -> PageAnswer:
    """Show the invitations of the workspace, and the form for another one."""
    return await _answer(console, asked)


async def act(console: Console, asked: PageRequest) -> PageAnswer | NextPage:
    """Make an invitation, or take one back."""
    workspace, by = UUID(str(asked.path["workspace"])), asked.author
    if invitation := asked.form.get("revoke", ""):
        await console.database.write(lambda admin: invitations.revoke(admin, workspace, invitation, by), asked.cost)
        return NextPage(f"/connections/{workspace}/invite")
    consent_settings(console)
    calendar = asked.form.get("calendar", "").strip()
    made = await console.database.write(lambda admin: invitations.invite(admin, workspace, calendar, by), asked.cost)
    return await _answer(console, asked, made)


async def _answer(console: Console, asked: PageRequest, made: Invitation | None = None) -> PageAnswer:
    workspace = UUID(str(asked.path["workspace"]))

    def look(admin: AdminSession) -> tuple[list[dict[str, Any]], str, bool]:
        row = admin.row(CONNECTIONS["connection"], workspace=workspace)
        return invitations.listed(admin, workspace), row["calendar"] if row else "", admin.hides_texts

    found, calendar, hides = await console.database.read(look, asked.cost)
    problem = "The console's login may not store a credential." if hides else ""
    try:
        consent_settings(console)
    except ConfigurationError:
        problem = "This console has neither Google's OAuth client nor the keys of the stored tokens."
    link = None if made is None else f"{console.address}/connect/{made.secret}"
    expires = None if made is None else made.expires_at
    calendar = "" if calendar.lower() == PRIMARY else calendar
    document = found if made is None else {"workspace": workspace, "link": link, "expires_at": expires}
    more = {
        "workspace": workspace,
        "calendar": calendar,
        "invitations": found,
        "link": link,
        "expires_at": expires,
        "problem": problem,
        "hours": HOURS,
    }
    about = f"--workspace {workspace} --calendar {quote(calendar) if calendar else '…'}"
    command = f"python -m reactor connect {about}"
    if not problem:
        command = f"python -m reactor invitations make {about} --console {quote(console.address)}"
    return PageAnswer("invite.html", document, command=command, title="Invite to connect", more=more)


PAGE = Page("/connections/{workspace:uuid}/invite", "Invite to connect", show=show, act=act)
