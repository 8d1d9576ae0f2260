"""Named SQL statements, kept in `.sql` files beside the code that runs them."""

import re
from functools import cache
from importlib import resources

_NAME = re.compile(r"^-- name: (\w+)$", re.MULTILINE)


@cache
def statements(file: str) -> dict[str, bytes]:
    """Return the statements of `reactor/postgres/<file>.sql` by name, as psycopg takes text that is not a literal."""
    text = resources.files("reactor.postgres").joinpath(f"{file}.sql").read_text(encoding="utf-8")
    _, *parts = _NAME.split(text)
    return {name: body.strip().encode() for name, body in zip(parts[::2], parts[1::2], strict=True)}
