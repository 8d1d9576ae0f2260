"""SQL lives in `.sql` files in `reactor/postgres/sql`, as statements with names; this reads them."""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import LiteralString, cast

_NAME = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)


@cache
def statements(file: str) -> Mapping[str, LiteralString]:
    """Read `reactor/postgres/sql/<file>.sql`.

    A statement begins with a line `-- name: <name>` and ends at the next one; what stands before the first name is a
    comment on the file. The text is ours, so it counts as literal.
    """
    text = (files("reactor.postgres") / "sql" / f"{file}.sql").read_text("utf-8")
    parts = _NAME.split(text)
    return {name: cast("LiteralString", body.strip()) for name, body in zip(parts[1::2], parts[2::2], strict=True)}
