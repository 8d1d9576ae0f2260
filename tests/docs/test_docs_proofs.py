"""The promises in the documents name tests that exist."""

import re

from tests.docs.test_docs_google import ROOT, TESTS


def test_every_promise_names_its_tests() -> None:
    page = (ROOT / "docs" / "proofs.md").read_text()
    rows = [
        line for line in page.splitlines() if line.startswith("| ") and not line.startswith(("| promise", "| at fault"))
    ]
    assert len(rows) > 10
    for row in rows:
        named = set(re.findall(r"`(test_\w+)`", row))
        assert named, row
        assert named <= TESTS, named - TESTS
