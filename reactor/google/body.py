"""The body of a request, as a plain iterator for httpx.

httpx's own is an async generator. A request that is cancelled while it is sent leaves it unfinished and unclosed, and
Trio warns when it is collected. An iterator has nothing to finish.
"""

from collections.abc import AsyncIterator
from typing import Self

import httpx


class Body(httpx.AsyncByteStream):
    """A body of some bytes, sent in one piece."""

    def __init__(self, content: bytes) -> None:
        self._content = content

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Piece(self._content)


class _Piece:
    def __init__(self, content: bytes) -> None:
        self._left: bytes | None = content

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        if self._left is None:
            raise StopAsyncIteration
        piece, self._left = self._left, None
        return piece


def with_body(request: httpx.Request, content: bytes | None) -> httpx.Request:
    """Give a request that was made with this content a body that may be broken off."""
    if content:
        request.stream = Body(content)
    return request
