"""Google's batch format: many requests in one, and their answers out of one. No I/O.

The format is that of https://developers.google.com/workspace/calendar/api/guides/batch: `multipart/mixed`, each part an
`application/http` message under a `Content-ID`; the answer's parts are named `response-` and the same. The outer
request's authorization holds for every part.

Answers are matched by name and never counted: a part that is missing, cannot be read, is shorter than it says, or comes
twice is a request of which nothing is known, and what is not closed by the final boundary may have been cut off. Only
an answer that is no multipart at all is an error, and says the same about all parts.

Bodies are JSON as `messages` writes it, without a raw line break, so no boundary can occur inside one.
"""

import re
from collections.abc import Mapping, Sequence

from reactor.core.calendar.messages import ApiRequest, NoResponse, Reply, Response
from reactor.errors import TransientError

PATH = "batch/calendar/v3"
MOST_PARTS = 50
"""Google's page allows 1,000 today and allowed 50 before; other APIs warn above 50."""

_BOUNDARY = re.compile(r'multipart/mixed\s*;(?:.*;)?\s*boundary=(?:"([^"]{1,200})"|([^\s;"]{1,200}))', re.IGNORECASE)
_DELIMITER_END = re.compile(rb"(?:--)?[ \t]*(?=\r?\n|\Z)")
_NEWLINE = ord("\n")
_NAME = re.compile(rb"\ncontent-id:[ \t]*<?response-([0-9]{1,4})>?[ \t]*\r?(?:\n|\Z)", re.IGNORECASE)
_HEAD_END = re.compile(rb"\n(?:\r?\n|\Z)")
_STATUS = re.compile(rb"HTTP/[0-9.]+ ([0-9]{3})(?: [^\r\n]*)?\r?\n")
_LENGTH = re.compile(r"[0-9]{1,9}")
_MISSING = NoResponse("the batch's answer does not speak of it")


class BatchAnswerError(TransientError):
    """The answer to a batch is not one; nothing is known about any of its parts."""


def write(requests: Sequence[ApiRequest], boundary: str) -> tuple[str, bytes]:
    """Write requests into one body.

    Args:
        requests: What to send; each is named by its place.
        boundary: A text that occurs in none of them, of letters and digits.

    Returns:
        The content type and the body.
    """
    parts = [_part(name, request, boundary) for name, request in enumerate(requests)]
    return f"multipart/mixed; boundary={boundary}", b"".join(parts) + f"--{boundary}--\r\n".encode()


def _part(name: int, request: ApiRequest, boundary: str) -> bytes:
    headers = "".join([f"{key}: {value}\r\n" for key, value in request.headers.items()])
    length = f"content-length: {len(request.body)}\r\n" if request.body else ""
    head = (
        f"--{boundary}\r\ncontent-type: application/http\r\ncontent-transfer-encoding: binary\r\n"
        f"content-id: <{name}>\r\n\r\n{request.http_method} /{request.target} HTTP/1.1\r\n{headers}{length}\r\n"
    )
    return head.encode() + request.body + b"\r\n"


def read(content_type: str, body: bytes, count: int) -> list[Reply]:
    """Read the replies out of one answer.

    Args:
        content_type: The answer's content type.
        body: The answer's body.
        count: How many requests were in the batch.

    Returns:
        One reply for each request, in their order.

    Raises:
        BatchAnswerError: It is no multipart.
    """
    found = _BOUNDARY.match(content_type)
    if found is None:
        raise BatchAnswerError("The answer to a batch is not multipart/mixed with a boundary.")
    replies: list[Reply] = [_MISSING] * count
    seen: set[int] = set()
    for part in _parts(body, (found[1] or found[2]).encode("latin-1", "replace")):
        outer = _HEAD_END.search(part)
        name = _name(part, outer)
        if name is None or name >= count:
            continue
        replies[name] = _MISSING if name in seen else _reply(part, outer)
        seen.add(name)
    return replies


def _parts(body: bytes, boundary: bytes) -> list[bytes]:
    """The parts between the delimiters; what follows the last delimiter is none, whether or not that one closes."""
    marker = b"--" + boundary
    parts: list[bytes] = []
    start = -1
    position = body.find(marker)
    while position >= 0:
        rest = _DELIMITER_END.match(body, position + len(marker))
        if rest and (position == 0 or body[position - 1] == _NEWLINE):
            if start >= 0:  # the line break before a delimiter belongs to it
                parts.append(body[start:position].removesuffix(b"\n").removesuffix(b"\r"))
            start = rest.end()
        position = body.find(marker, position + len(marker))
    return parts


def _name(part: bytes, outer: re.Match[bytes] | None) -> int | None:
    found = _NAME.search(part, 0, outer.start() if outer else len(part))
    return int(found[1]) if found else None


def _reply(part: bytes, outer: re.Match[bytes] | None) -> Reply:
    """The HTTP message in a part, behind the part's own head."""
    status = _STATUS.match(part, outer.end()) if outer else None
    if status is None:
        return _MISSING
    # The head may be empty: then the blank line follows the status line at once.
    head = _HEAD_END.search(part, status.end() - 1)
    if head is None:
        return _MISSING
    headers = _headers(part[status.end() : head.start()])
    return _whole(int(status[1]), headers, part[head.end() :])


def _headers(block: bytes) -> Mapping[str, str]:
    lines = [line.partition(":") for line in block.decode("latin-1").split("\n")]
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}


def _whole(status: int, headers: Mapping[str, str], body: bytes) -> Reply:
    """The answer, if its body is as long as it says; what follows the body belongs to the framing."""
    announced = headers.get("content-length", "")
    if not _LENGTH.fullmatch(announced):
        return Response(status, headers, body)
    length = int(announced)
    return Response(status, headers, body[:length]) if len(body) >= length else _MISSING
