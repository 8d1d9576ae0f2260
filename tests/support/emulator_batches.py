"""Batches as the standard library reads and a few lines write them: independent of the emulator's own codec."""

import email.parser
import email.policy
import json
from dataclasses import dataclass
from typing import Any

import httpx


@dataclass(frozen=True)
class Part:
    """One answer inside a batch; status and JSON are None where there is none to be read."""

    content_id: str | None
    status: int | None
    json: Any


def batch_of(*requests: tuple[str, str, dict[str, Any] | None]) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a batch request whose parts are named item0, item1, ..."""
    out = ""
    for number, (method, path, body) in enumerate(requests):
        text = json.dumps(body) if body is not None else ""
        head = f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n" if text else ""
        out += f"--b\r\nContent-Type: application/http\r\nContent-ID: <item{number}>\r\n\r\n"
        out += f"{method} /{path} HTTP/1.1\r\n{head}\r\n{text}\r\n"
    return f"{out}--b--\r\n".encode(), {"Content-Type": "multipart/mixed; boundary=b"}


def parts_of(answer: httpx.Response) -> list[Part]:
    """The parts of a batch answer."""
    outer = f"Content-Type: {answer.headers['content-type']}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(outer + answer.content)
    assert not message.defects
    parts = []
    for part in message.iter_parts():
        assert part.get_content_type() == "application/http"
        inner = part.get_content()
        line, _, rest = inner.partition(b"\r\n")
        words = line.split()
        status = int(words[1]) if words[1].isdigit() else None
        try:
            head, _, content = rest.partition(b"\r\n\r\n")
            length = email.parser.BytesParser().parsebytes(head, headersonly=True)["content-length"]
            body = json.loads(content[: int(length or 0)])
        except ValueError:
            body = None
        parts.append(Part(part["content-id"], status, body))
    return parts
