"""The last lines of the log, kept for the case that somebody has to see them."""

import io
from collections import deque

_LINES = 30


class Recent(io.TextIOBase):
    """A text stream that remembers its last lines."""

    def __init__(self) -> None:
        self._lines: deque[str] = deque(maxlen=_LINES)

    def write(self, text: str) -> int:
        """Take text; the handlers of logging write whole lines."""
        self._lines.extend(text.splitlines())
        return len(text)

    def text(self) -> str:
        """What is remembered."""
        return "\n".join(self._lines)
