"""How a demo is wanted."""

from dataclasses import dataclass

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
    """

    items: int | None = None
    seed: int = 0
    rate: float = DEFAULT_RATE
    as_json: bool = False
    database_url: str | None = None
