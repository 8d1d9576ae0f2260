"""The ids of our events.

Google lets a client choose an event's id when it inserts it, from the alphabet of base32hex (`0`-`9`, `a`-`v`), 5 to
1024 characters (https://developers.google.com/workspace/calendar/api/v3/reference/events/insert). An id that follows
from what the event stands for makes the insert safe to repeat: the second one meets 409. Google does not promise to see
every collision at creation, so the id carries 160 bits of a hash.

An id stays taken after its event was deleted, and reviving the deleted event is sometimes refused. So an id also has a
generation, and the next generation is another id.
"""

import hashlib

_HASH_BYTES = 20  # 160 bits are 32 characters of base32 without padding
_BASE32HEX = "0123456789abcdefghijklmnopqrstuv"
_DIGITS = bytes.maketrans(bytes(range(32)), _BASE32HEX.encode())


def _halves(bits: int, room: int) -> tuple[int, int, int]:
    """How to move the upper half of each group of so many bits to the middle of its room; with what stays and moves."""
    places = range(0, 256, room)
    lower = sum(((1 << bits // 2) - 1) << place for place in places)
    return lower, lower << bits // 2, (room - bits) // 2


_SPREADING = [_halves(160 >> step, 256 >> step) for step in range(5)]
"""From 160 bits in a row to five in each of 32 bytes: at base32 this is twice as fast as `base64.b32hexencode`."""


def event_id(workspace_id: str, source_key: str, generation: int) -> str:
    """The id of a source's event: 33 characters, `r` and a hash of all three arguments."""
    # Neither a UUID nor a number holds a newline, so different arguments never make the same text.
    text = f"{workspace_id}\n{generation}\n{source_key}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    spread = int.from_bytes(digest[:_HASH_BYTES], "big")
    for stays, moves, by in _SPREADING:
        spread = spread & stays | (spread & moves) << by
    return "r" + spread.to_bytes(32, "big").translate(_DIGITS).decode()


def digest_of(event_id: str) -> bytes | None:
    """The hash that an id of ours carries, None where the id is not of our making."""
    if len(event_id) != 33 or event_id[0] != "r" or not set(event_id) <= set(_BASE32HEX):
        return None
    return int(event_id[1:], 32).to_bytes(_HASH_BYTES, "big")
