"""How a demo is wanted."""

from dataclasses import dataclass
from pathlib import Path

DEFAULT_RATE = 40.0


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `python -m reactor demo`.

    Attributes:
        items: End after so many rows of the outbox; None: go on until stopped.
        seed: Of what people do and of what goes wrong.
        rate: Rows a second; 0 for as many as there can be.
        as_json: Print one JSON object and nothing else.
        database_url: A server to make the demo's database on; None for an embedded one.
        settings: A file for the demo's settings, so that a shell can run commands on it while it goes on.
    """

    items: int | None = None
    seed: int = 0
    rate: float = DEFAULT_RATE
    as_json: bool = False
    database_url: str | None = None
    settings: Path | None = None
