"""What an answer means for one who only asks."""

import json

import pytest

from reactor.drift.answers import Means, read


def refusal(code: int, *reasons: str, finer: str = "") -> bytes:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": finer}] if finer else "none"
    return json.dumps(
        {"error": {"code": code, "errors": [{"reason": each} for each in reasons], "details": details}}
    ).encode()


@pytest.mark.parametrize(
    ("status", "body", "means", "codes"),
    [
        (200, b'{"items": []}', Means.FOUND, ""),
        (200, b"<html>", Means.LATER, "200 without Google's JSON"),
        (200, b"[]", Means.LATER, "200 without Google's JSON"),
        (502, b"[" * 100_000, Means.LATER, "502 without Google's JSON"),
        (503, refusal(503, "backendError"), Means.LATER, "503 backendError"),
        (408, b"{}", Means.LATER, "408"),
        (401, refusal(401, "authError"), Means.RENEW, "401 authError"),
        (404, refusal(404, "notFound"), Means.ABSENT, "404 notFound"),
        (410, refusal(410, "deleted"), Means.ABSENT, "410 deleted"),
        (403, refusal(403, "forbidden"), Means.ABSENT, "403 forbidden"),
        (403, refusal(403, "requiredAccessLevel"), Means.ABSENT, "403 requiredAccessLevel"),
        (403, refusal(403, "forbidden", finer="SERVICE_DISABLED"), Means.REFUSED, "403 SERVICE_DISABLED forbidden"),
        (403, refusal(403, "rateLimitExceeded"), Means.LIMITED, "403 rateLimitExceeded"),
        (403, refusal(403, "odd", finer="RATE_LIMIT_EXCEEDED"), Means.LIMITED, "403 RATE_LIMIT_EXCEEDED odd"),
        (429, b"{}", Means.LIMITED, "429"),
        (403, refusal(403, "quotaExceeded"), Means.REFUSED, "403 quotaExceeded"),
        (429, refusal(429, "dailyLimitExceeded"), Means.REFUSED, "429 dailyLimitExceeded"),
        (403, b'{"error": "a sentence"}', Means.REFUSED, "403"),
        (403, refusal(403, "it is Ada's"), Means.REFUSED, "403"),
        (400, b'{"error": {"errors": ["odd", {"reason": 7}]}}', Means.REFUSED, "400"),
    ],
)  # fmt: skip
def test_answers(status: int, body: bytes, means: Means, codes: str) -> None:
    said = read(status, body)
    assert (said.means, said.codes) == (means, codes)
    assert bool(said.document) is (said.means is Means.FOUND)
