"""The server's side of `multipart/mixed`: batch requests in, batch answers out.

Own code on bytes: the standard library's parser is made for mail and spends more time on a part than the emulator
spends on carrying it out. Format: https://developers.google.com/workspace/calendar/api/guides/batch.
"""

import re
from dataclasses import dataclass
from email.message import Message
from typing import Final

from calendar_emulator.calls import Answer, Request, parse_query, reason_phrase
from calendar_emulator.errors import ApiError

_NEWLINE: Final = ord("\n")


@dataclass(slots=True)
class Part:
    """One call of a batch.

    Attributes:
        content_id: The Content-ID with its angle brackets, empty for none.
        request: The request inside, with the outer headers and parameters filled in.
    """

    content_id: str
    request: Request


def read(outer: Request) -> list[Part]:
    """Take a batch request apart.

    Raises:
        ApiError: It is not a well-formed batch: 400 for the whole.
    """
    if outer.method != "POST":
        raise ApiError("methodNotAllowed")
    chunks = _split(outer.body, _boundary(outer.headers.get("content-type", "")))
    if not chunks:
        raise _failed("no parts")
    inherited = {k: v for k, v in outer.headers.items() if not k.startswith("content-")}
    return [_part(chunk, inherited, outer.query) for chunk in chunks]


def write(answers: list[tuple[str, Answer, str]], boundary: str) -> bytes:
    """Put a batch answer together.

    Args:
        answers: For each part its Content-ID, its answer, and the way in which to damage it: "" (not at all), drop,
            truncate, length or malformed.
        boundary: What separates the parts.
    """
    out = []
    for content_id, answer, damage in answers:
        if damage == "drop":
            continue
        marker = f"Content-ID: <response-{content_id.strip('<>')}>\r\n" if content_id else ""
        head = f"--{boundary}\r\nContent-Type: application/http\r\n{marker}\r\n"
        out.append(head.encode() + _inner(answer, damage) + b"\r\n")
    out.append(f"--{boundary}--\r\n".encode())
    return b"".join(out)


def _inner(answer: Answer, damage: str) -> bytes:
    body = answer.body()
    length = len(body)
    if damage == "malformed":
        return b"HTTP/1.1 what\r\n" + body
    if damage == "truncate":
        body = body[: length // 2]
    elif damage == "length":
        length //= 2
    lines = [f"HTTP/1.1 {answer.status} {reason_phrase(answer.status)}"]
    if answer.payload is not None:
        lines += [f"Content-Type: {answer.content_type}", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def _boundary(content_type: str) -> bytes:
    message = Message()
    message["content-type"] = content_type
    boundary = message.get_boundary()
    if message.get_content_type() != "multipart/mixed" or not boundary:
        raise _failed("multipart/mixed with a boundary is expected")
    return boundary.encode()


def _split(body: bytes, boundary: bytes) -> list[bytes]:
    # The pattern begins with fixed bytes, which are found several times faster than a line break followed by them.
    delimiter = re.compile(b"--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?\n|\Z)")
    chunks: list[bytes] = []
    start = -1
    for found in delimiter.finditer(body):
        if found.start() and body[found.start() - 1] != _NEWLINE:
            continue  # not at the beginning of a line
        if start >= 0:
            chunks.append(body[start : found.start()].removesuffix(b"\n").removesuffix(b"\r"))
        if found[1]:
            return chunks
        start = found.end()
    raise _failed("the closing delimiter is missing")


def _part(chunk: bytes, inherited: dict[str, str], query: dict[str, list[str]]) -> Part:
    head, inner = _halves(chunk)
    outer_headers = _headers(head.split("\n"))
    if outer_headers.get("content-type", "").split(";")[0].strip().lower() != "application/http":
        raise _failed("a part is not application/http")
    inner_head, body = _halves(inner)
    first, _, rest = inner_head.partition("\n")
    words = first.split()
    if len(words) not in (2, 3) or not words[1].startswith("/"):
        raise _failed(f"unexpected request line: {first.strip()}")
    headers = _headers(rest.split("\n"))
    if (length := headers.get("content-length")) is not None:
        if not length.isdigit() or int(length) > len(body):
            raise _failed("a part is shorter than its Content-Length")
        body = body[: int(length)]
    path, _, text = words[1].partition("?")
    request = Request(words[0].upper(), path, query | parse_query(text), inherited | headers, body)
    return Part(outer_headers.get("content-id", ""), request)


def _halves(chunk: bytes) -> tuple[str, bytes]:
    """Head and body, with either kind of line break between them."""
    chunk = chunk.lstrip(b"\r\n")
    at, length = chunk.find(b"\r\n\r\n"), 4
    if (bare := chunk.find(b"\n\n", 0, at if at >= 0 else None)) >= 0:
        at, length = bare, 2
    if at < 0:
        return chunk.decode("latin-1"), b""
    return chunk[:at].decode("latin-1"), chunk[at + length :]


def _headers(lines: list[str]) -> dict[str, str]:
    headers = {}
    for line in lines:
        name, colon, value = line.partition(":")
        if colon:
            headers[name.strip().lower()] = value.strip()
    return headers


def _failed(why: str) -> ApiError:
    return ApiError("badRequest", f"Failed to parse batch request, error: {why}.")
