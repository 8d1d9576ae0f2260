"""Statements for a login that may not read texts of events.

Its role may read some columns of the tables, and views of the schema `calendar_sync` that have the tables' names, with
dots in the place of words (db/console.sql). The statements are written once, for the tables, and changed here in the
few places that differ; so a page of such a login and a command ask the same.
"""

import re
from functools import cache
from typing import LiteralString

from reactor.postgres.statements import statements

_OTHERS = {
    statements("rebuilds")["source"]: statements("shown")["source"],
    statements("chains")["function_of_text"]: statements("shown")["function_of_text"],
}
_WRITES = re.compile(r"\b(?:insert into|update|delete from) public\.|\bfor (?:no key )?update\b")
_CHANGES = [
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        (
            r"(?<!')\bpublic\.(sync_outbox|sync_sources|calendar_event_bindings|google_connections)\b",
            r"calendar_sync.\1",
        ),
        (r"(?<!')\bpublic\.calendar_source_events\(", "calendar_sync.calendar_source_events("),
        (r"\bpublic\.sync_source_key\((\w+)\.payload, \1\.id\)", r"\1.source_key"),
        (r"\bpg_catalog\.pg_column_size\((\w+)\.payload\)", r"\1.payload_stored"),
        (r"\boctet_length\((\w+)\.payload::text\)", r"\1.payload_bytes"),
        (r"\b(\w+)\.xmax\b", r"\1.row_xmax"),
    )
]


@cache
def shown(statement: LiteralString) -> LiteralString:
    """A statement as such a login may run it; what writes is left as it is."""
    if _WRITES.search(statement):
        return statement
    text: str = _OTHERS.get(statement, statement)
    for pattern, replacement in _CHANGES:
        text = pattern.sub(replacement, text)
    return text
