"""Google's batch format, as it is written and as it is read."""

import email.parser
import email.policy
import re
from email.message import EmailMessage

import pytest
from hypothesis import example, given, strategies as st

from reactor.core.calendar import messages
from reactor.core.calendar.messages import ApiRequest, EventRef, Method, NoResponse, Response
from reactor.google import batch

BOUNDARY = "batch0123456789"
TYPE = "multipart/mixed; boundary=batch_r"
PLACE = EventRef("ada@example.com", "e1")


def unread(reply: object) -> bool:
    return isinstance(reply, NoResponse) and reply.sent


def part(name: object, http: str) -> str:
    return f"--batch_r\r\nContent-Type: application/http\r\nContent-ID: <response-{name}>\r\n\r\n{http}\r\n"


def http(status: int, body: str = "", *, length: int | None = None) -> str:
    size = len(body) if length is None else length
    return f"HTTP/1.1 {status} Whatever\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n{body}"


def answer_of(*parts: str, end: str = "--batch_r--\r\n") -> bytes:
    return ("".join(parts) + end).encode()


# Writing


def parse_written(requests: list[ApiRequest]) -> list[EmailMessage]:
    """Read what we write with the standard library's parser."""
    content_type, body = batch.write(requests, BOUNDARY)
    head = f"Content-Type: {content_type}\r\nMIME-Version: 1.0\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(head + body)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    return [part for part in message.iter_parts() if isinstance(part, EmailMessage)]


def test_every_request_is_a_part_with_a_name_and_a_whole_http_message() -> None:
    requests = [
        messages.insert(PLACE, {"summary": "Prüfung\r\n--batch0123456789"}),
        messages.delete(PLACE, etag='"1"'),
        messages.get(PLACE),
    ]
    parts = parse_written(requests)
    assert [part["content-id"] for part in parts] == ["<0>", "<1>", "<2>"]
    assert {part.get_content_type() for part in parts} == {"application/http"}
    for written, request in zip(parts, requests, strict=True):
        content = written.get_content()
        assert isinstance(content, bytes)
        head, _, body = content.partition(b"\r\n\r\n")
        line, *headers = head.decode().split("\r\n")
        assert line == f"{request.http_method} /{request.target} HTTP/1.1"
        assert body.rstrip(b"\r\n") == request.body
        assert ({h.partition(": ")[0] for h in headers} >= request.headers.keys()) is True
        assert (f"content-length: {len(request.body)}" in headers) is bool(request.body)


TEXTS = st.text(max_size=20) | st.sampled_from([f"--{BOUNDARY}", f"\r\n--{BOUNDARY}--\r\n", "\n\n"])
REQUESTS = st.builds(
    lambda calendar_id, title: messages.insert(EventRef(calendar_id, "e"), {"summary": title}), TEXTS, TEXTS
)


@given(st.lists(REQUESTS, min_size=1, max_size=50))
def test_no_text_can_break_out_of_its_part(requests: list[ApiRequest]) -> None:
    parts = parse_written(requests)
    assert len(parts) == len(requests)
    for written, request in zip(parts, requests, strict=True):
        content = written.get_content()
        assert isinstance(content, bytes)
        assert content.startswith(f"POST /{request.target} HTTP/1.1\r\n".encode())
        assert content.rstrip(b"\r\n").endswith(request.body)


# Reading


def test_replies_are_matched_by_name_and_not_by_place() -> None:
    body = answer_of(
        part(2, http(404, "{}")), part(0, http(200, '{"a":1}')), part(1, "HTTP/1.1 204 No Content\r\n\r\n")
    )
    assert batch.read(TYPE, body, 3) == [
        Response(200, {"content-type": "application/json", "content-length": "7"}, b'{"a":1}'),
        Response(204),
        Response(404, {"content-type": "application/json", "content-length": "2"}, b"{}"),
    ]


def test_a_part_that_is_missing_says_nothing() -> None:
    first, second = batch.read(TYPE, answer_of(part(1, http(200))), 2)
    assert unread(first)
    assert second == Response(200, {"content-type": "application/json", "content-length": "0"}, b"")


@pytest.mark.parametrize("name", [2, 99, "x", "", "-1", "99999", "0>\r\nContent-ID: <response-1"])
def test_a_part_that_nobody_asked_for_is_ignored(name: object) -> None:
    assert unread(batch.read(TYPE, answer_of(part(name, http(200))), 1)[0]) is (name != "0>\r\nContent-ID: <response-1")


def test_two_answers_to_one_request_say_nothing() -> None:
    assert unread(batch.read(TYPE, answer_of(part(0, http(200)), part(0, http(404))), 1)[0])


@pytest.mark.parametrize(
    "inner",
    [
        "",
        "\r\n",
        "nonsense",
        "HTTP/1.1",
        "HTTP/1.1 what\r\n\r\n{}",
        "HTTP/1.1 20\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Le",
    ],
)
def test_a_malformed_part_says_nothing_and_the_others_are_read(inner: str) -> None:
    first, second = batch.read(TYPE, answer_of(part(0, inner), part(1, http(200))), 2)
    assert unread(first)
    assert isinstance(second, Response)


def test_a_part_without_any_headers_is_ignored() -> None:
    assert unread(batch.read(TYPE, answer_of("--batch_r\r\n\r\nHTTP/1.1 200 OK\r\n\r\n{}\r\n"), 1)[0])


def test_a_name_inside_a_body_names_nothing() -> None:
    inner = http(200, "\r\nContent-ID: <response-0>\r\n")
    assert unread(batch.read(TYPE, answer_of(part(1, inner)), 1)[0])


def test_a_part_that_is_shorter_than_it_says_says_nothing() -> None:
    assert unread(batch.read(TYPE, answer_of(part(0, http(200, '{"a"', length=7))), 1)[0])


def test_what_follows_a_body_is_framing() -> None:
    reply = batch.read(TYPE, answer_of(part(0, http(200, "{}\r\n\r\n", length=2))), 1)[0]
    assert isinstance(reply, Response)
    assert reply.body == b"{}"


def test_a_part_that_does_not_say_how_long_it_is_ends_where_it_ends() -> None:
    reply = batch.read(TYPE, answer_of(part(0, "HTTP/1.1 200 OK\r\nX\r\n\r\n{}")), 1)[0]
    assert reply == Response(200, {}, b"{}")


@pytest.mark.parametrize("end", ["", "--batch", "--batch_", "--other--\r\n"])
def test_an_answer_that_was_cut_off_says_nothing_about_its_last_part(end: str) -> None:
    body = answer_of(part(0, http(200)), part(1, "HTTP/1.1 200 OK\r\n\r\n{}"), end=end)
    first, second = batch.read(TYPE, body, 2)
    assert isinstance(first, Response)
    assert unread(second)


@pytest.mark.parametrize(
    "content_type",
    [
        'multipart/mixed; boundary="batch_r"',
        "Multipart/Mixed;charset=utf-8; boundary=batch_r",
        'multipart/mixed ; boundary="batch_r"; charset=utf-8',
    ],
)
def test_the_boundary_may_be_quoted_or_not(content_type: str) -> None:
    assert isinstance(batch.read(content_type, answer_of(part(0, http(200))), 1)[0], Response)


def test_lines_may_end_without_a_carriage_return() -> None:
    body = answer_of(part(0, "HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}"), part(1, "HTTP/1.1 204 No Content\r\n\r\n"))
    assert batch.read(TYPE, body.replace(b"\r\n", b"\n"), 2) == [Response(200, {"a": "b"}, b"{}"), Response(204)]


def test_a_boundary_inside_a_line_is_no_boundary() -> None:
    reply = batch.read(TYPE, answer_of(part(0, http(200, "x--batch_r--batch_rx"))), 1)[0]
    assert isinstance(reply, Response)
    assert reply.body == b"x--batch_r--batch_rx"


@pytest.mark.parametrize("content_type", ["", "text/html", "multipart/mixed", "multipart/mixed; boundary=", "x" * 99])
def test_an_answer_that_is_no_multipart_is_an_error(content_type: str) -> None:
    with pytest.raises(batch.BatchAnswerError, match="not multipart"):
        batch.read(content_type, b"{}", 1)


def test_the_error_repeats_nothing() -> None:
    with pytest.raises(batch.BatchAnswerError) as caught:
        batch.read("text/secret", b"secret", 1)
    assert "secret" not in str(caught.value)


PIECES = st.sampled_from(
    [
        b"--batch_r",
        b"--batch_r--",
        b"\r\n",
        b"\n",
        b"\r\n\r\n",
        b"Content-ID: <response-0>",
        b"content-id:response-1",
        b"HTTP/1.1 200 OK",
        b"Content-Length: 5",
        b"Content-Length: 99999999999999",
        b'{"a":1}',
        b"\xff\x00",
        b" \t",
    ]
)


@given(st.lists(PIECES | st.binary(max_size=8), max_size=40).map(b"".join), st.integers(0, 3))
@example(b"--batch_r" + b" " * 100_000, 1)
@example(b"\r\n" * 100_000, 1)
@example(b"\r\n--batch_r" * 50_000, 1)
@example(b"--batch_r\r\n" + b"content-id:" * 50_000, 1)
def test_any_bytes_are_read_and_each_request_has_a_reply(body: bytes, count: int) -> None:
    replies = batch.read(TYPE, body, count)
    assert len(replies) == count
    assert all(isinstance(reply, Response | NoResponse) for reply in replies)


@given(st.text(max_size=60) | st.just("multipart/mixed;" + " ;" * 30_000) | st.just("multipart/mixed" + " " * 60_000))
def test_any_content_type_is_read_or_refused(content_type: str) -> None:
    refused = False
    try:
        batch.read(content_type, b"--x\r\n", 1)
    except batch.BatchAnswerError:
        refused = True
    assert refused or re.match("multipart/mixed", content_type, re.IGNORECASE)


def test_what_is_written_is_answered_part_by_part() -> None:
    """The names that we write are the names that we read."""
    written = parse_written([ApiRequest(Method.GET, "GET", "x") for _ in range(50)])
    body = answer_of(*(part(str(p["content-id"]).strip("<>"), http(200, str(n))) for n, p in enumerate(written)))
    replies = batch.read(TYPE, body, 50)
    assert [reply.body for reply in replies if isinstance(reply, Response)] == [str(n).encode() for n in range(50)]
