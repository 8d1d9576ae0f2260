"""What an answer means for one who only asks."""

import json

import pytest

from reactor.drift.answers import DriftAnswer, read


def refusal(code: int, *reasons: str, finer: str = "") -> bytes:
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": finer}] if finer else "none"
    return json.dumps(
        {"error": {"code": code, "errors": [{"reason": each} for each in reasons], "details": details}}
    ).encode()


@pytest.mark.parametrize(
    ("status", "body", "means", "codes"),
    [
        (200, b'{"items": []}', DriftAnswer.FOUND, ""),
        (200, b"<html>", DriftAnswer.LATER, "200 without Google's JSON"),
        (200, b"[]", DriftAnswer.LATER, "200 without Google's JSON"),
        (502, b"[" * 100_000, DriftAnswer.LATER, "502 without Google's JSON"),
        (503, refusal(503, "backendError"), DriftAnswer.LATER, "503 backendError"),
        (408, b"{}", DriftAnswer.LATER, "408"),
        (401, refusal(401, "authError"), DriftAnswer.RENEW, "401 authError"),
        (404, refusal(404, "notFound"), DriftAnswer.ABSENT, "404 notFound"),
        (410, refusal(410, "deleted"), DriftAnswer.ABSENT, "410 deleted"),
        (403, refusal(403, "forbidden"), DriftAnswer.ABSENT, "403 forbidden"),
        (403, refusal(403, "requiredAccessLevel"), DriftAnswer.ABSENT, "403 requiredAccessLevel"),
        (
            403,
            refusal(403, "forbidden", finer="SERVICE_DISABLED"),
            DriftAnswer.REFUSED,
            "403 SERVICE_DISABLED forbidden"),
        (403, refusal(403, "rateLimitExceeded"), DriftAnswer.LIMITED, "403 rateLimitExceeded"),
        (403, refusal(403, "odd", finer="RATE_LIMIT_EXCEEDED"), DriftAnswer.LIMITED, "403 RATE_LIMIT_EXCEEDED odd"),
        (429, b"{}", DriftAnswer.LIMITED, "429"),
        (403, refusal(403, "quotaExceeded"), DriftAnswer.REFUSED, "403 quotaExceeded"),
        (429, refusal(429, "dailyLimitExceeded"), DriftAnswer.REFUSED, "429 dailyLimitExceeded"),
        (403, b'{"error": "a sentence"}', DriftAnswer.REFUSED, "403"),
        (403, refusal(403, "it is Ada's"), DriftAnswer.REFUSED, "403"),
        (400, b'{"error": {"errors": ["odd", {"reason": 7}]}}', DriftAnswer.REFUSED, "400"),
    ],
)  # fmt: skip
def test_answers(status: int, body: bytes, means: DriftAnswer, codes: str) -> None:
    said = read(status, body)
    assert (said.means, said.codes) == (means, codes)
    assert bool(said.document) is (said.means is DriftAnswer.FOUND)
