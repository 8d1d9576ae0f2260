"""Rows by the thousand, and payloads by the megabyte, made inside the server."""

from uuid import UUID

from psycopg.types.json import Jsonb

from tests.support.dialogues import CALENDAR, upsert_json
from tests.support.repeating import Connection

REPEATED = "repeat('0123456789', %(size)s / 10)"
SCATTERED = "(select string_agg(md5(n::text), '') from generate_series(1, %(size)s / 32) as n)"

_INSERT = """
with text as materialized (select to_jsonb({text}) as description)
insert into sync_outbox (workspace_id, operation, payload)
select %(workspace)s, 'UPSERT_EVENT',
       jsonb_set(jsonb_set(%(payload)s::jsonb, '{{sourceId}}', to_jsonb(gen_random_uuid())),
                 '{{event,description}}', text.description)
  from text, generate_series(1, %(rows)s)
"""


def insert_edits(
    connection: Connection,
    workspace: UUID,
    rows: int,
    *,
    size: int = 0,
    scattered: bool = False,
    calendar: str = CALENDAR,
) -> None:
    """Insert edits of as many sources in one transaction.

    Args:
        connection: The application's.
        workspace: Whose.
        rows: How many.
        size: The length of each description in bytes.
        scattered: Whether the text is one that cannot be compressed.
        calendar: Where the events are to be.
    """
    statement = _INSERT.format(text=SCATTERED if scattered and size else REPEATED)
    payload = upsert_json("one of many", calendar) | {"workspaceId": str(workspace)}
    connection.execute(
        statement.encode(), {"workspace": workspace, "payload": Jsonb(payload), "size": size, "rows": rows}
    )
