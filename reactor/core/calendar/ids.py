"""The ids of our events.

Google lets a client choose an event's id when it inserts it, from the alphabet of base32hex (`0`-`9`, `a`-`v`), 5 to
1024 characters (https://developers.google.com/workspace/calendar/api/v3/reference/events/insert). An id that follows
from what the event stands for makes the insert safe to repeat: the second one meets 409. Google does not promise to see
every collision at creation, so the id carries 160 bits of a hash.

An id stays taken after its event was deleted, and reviving the deleted event is sometimes refused. So an id also has a
generation, and the next generation is another id.
"""

import hashlib
from functools import lru_cache

_HASH_BYTES = 20  # 160 bits are 32 characters of base32 without padding
_BASE32HEX = "0123456789abcdefghijklmnopqrstuv"
_PAIRS = [first + second for first in _BASE32HEX for second in _BASE32HEX]  # twice as fast as base64.b32hexencode


@lru_cache(maxsize=4096)  # an item asks for the same one several times, and 3,000 are in flight
def event_id(workspace_id: str, source_key: str, generation: int) -> str:
    """The id of a source's event: 33 characters, `r` and a hash of all three arguments."""
    # Neither a UUID nor a number holds a newline, so different arguments never make the same text.
    text = f"{workspace_id}\n{generation}\n{source_key}"
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    bits = int.from_bytes(digest[:_HASH_BYTES], "big")
    return "r" + "".join([_PAIRS[bits >> shift & 0x3FF] for shift in range(150, -1, -10)])


def digest_of(event_id: str) -> bytes | None:
    """The hash that an id of ours carries, None where the id is not of our making."""
    if len(event_id) != 33 or event_id[0] != "r" or not set(event_id) <= set(_BASE32HEX):
        return None
    return int(event_id[1:], 32).to_bytes(_HASH_BYTES, "big")
