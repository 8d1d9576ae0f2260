"""What a login may do at the desk: it follows from what the database lets it do."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from reactor.desk import acts
from reactor.desk.acts import ActAuthor, ActKind
from reactor.desk.wording import clean
from reactor.errors import ConfigurationError
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.statements import statements

SQL = statements("shown")


@dataclass(frozen=True, slots=True)
class LoginRights:
    """What a login may do (db/console.sql).

    Attributes:
        viewer: See everything but texts and credentials.
        operator: Requeue, release, enable, disable and rebuild.
        words: Read the texts of an item; each look is an act.
    """

    viewer: bool
    operator: bool
    words: bool


def rights(admin: AdminSession) -> LoginRights:
    """Ask the database what this login may do."""
    return LoginRights(**admin.one(SQL["rights"]))


def words(admin: AdminSession, item: UUID, by: ActAuthor) -> Any:
    """An item's payload with its texts, None where there is no such item; the look is recorded.

    Raises:
        ConfigurationError: There is no reason.
    """
    if not by.reason:
        raise ConfigurationError("Say why: a look at texts of events needs a reason.")
    if admin.hides_texts:
        return admin.one(SQL["words"], item=item, who=clean(by.who), how=by.how, reason=clean(by.reason))["payload"]
    with admin.connection.transaction():
        found = admin.row(SQL["payload"], item=item)
        if found is None:
            return None
        acts.record(admin, by, ActKind.WORDS, workspace=found["workspace"], target={"item": item})
    return found["payload"]
