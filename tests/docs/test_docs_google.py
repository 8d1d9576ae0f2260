"""The tables in the documents: no row without a test, no test that does not exist."""

import re
from pathlib import Path

from reactor.core.calendar import reasons
from reactor.core.calendar.answers import TABLE

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "google.md").read_text()
TESTS = {
    name
    for file in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
}


def answer_rows() -> list[str]:
    section = PAGE.partition("## Every answer")[2].partition("\n## ")[0]
    return [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| after |")]


def test_every_row_names_a_test_and_every_test_exists() -> None:
    rows = answer_rows()
    assert len(rows) > len(TABLE)
    for row in rows:
        named = set(re.findall(r"`(test_\w+)`", row))
        assert named, row
        assert named <= TESTS, named - TESTS


def test_so_does_every_answer_of_the_token_endpoint() -> None:
    section = PAGE.partition("## The token endpoint")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| Answer")]
    assert len(rows) > 10
    for row in rows:
        named = set(re.findall(r"`(test_\w+)`", row))
        assert named, row
        assert named <= TESTS, named - TESTS


def test_every_rule_of_the_code_has_a_row() -> None:
    documented = re.findall(r"`test_(\w+)`", "\n".join(answer_rows()))
    assert [rule.name for rule in TABLE if rule.name not in documented] == []


def test_every_word_of_googles_is_listed_by_what_it_is_about() -> None:
    section = PAGE.partition("## Which reason decides")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| ") and not line.startswith("| about |")]
    listed = [frozenset(re.findall(r"`(\w+)`", row)) for row in rows]
    sets = [value for name, value in vars(reasons).items() if isinstance(value, frozenset) and name != "IN_FRONT"]
    assert len(listed) == len(sets)
    assert set(listed) == set(sets)
