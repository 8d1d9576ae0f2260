"""Each term of the glossary is used where it lives, and each class is named by a term or by a plain word."""

import ast
import re
from collections import Counter
from itertools import pairwise
from pathlib import Path

import pytest

from tests.docs.test_docs_google import ROOT

ROWS = re.findall(
    r"^\| ([^|]+) \| ([^|]+) \| `([^`]+)` \|$", (ROOT / "docs" / "glossary.md").read_text("utf-8"), re.MULTILINE
)
TERMS = [term for term, _, _ in ROWS]
PLAIN = {
    "what every program has": (
        "body bounds command cost error fact field filter finding handler histogram kind limit metric page "
        "reader report request response result rights row sample script server service setting state stat table "
        "text time timeout timing verdict "
    ),
    "what protocols and libraries call so": (
        "backend calendar client connector endpoint lock loopback method pool postgres reminder stream telemetry "
        "transport "
    ),
    "what has become of a thing": (
        "asked dead done expanded finished oversized refused rotated stopped unusable waiting "
    ),
    "English": (
        "candidate comparing comparison difference explanation invariant match pace pause reading send trace work "
    ),
}
"""A class whose last word is one of these needs no glossary, and why. Kept short: a new word for a thing of the domain
belongs into docs/glossary.md."""


def words(name: str) -> list[str]:
    """A class's name in its words: `_CauseRule` is cause, rule."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z][a-z]*|\d+", name)]


def stems(word: str) -> set[str]:
    """A word and what it may be a form of."""
    cut = {word[: -len(end)] for end in ("s", "es", "r", "er", "ed", "d", "ing", "ness") if word.endswith(end)}
    cut |= {stem[:-1] for stem in cut if len(stem) > 2 and stem[-1] == stem[-2]}
    return {word, *cut, *(f"{stem}e" for stem in [word.removesuffix("ing")] if stem != word)}


def classes() -> list[tuple[str, Path]]:
    """Every class of the package, also one within a function."""
    return [
        (node.name, file)
        for file in sorted((ROOT / "reactor").rglob("*.py"))
        for node in ast.walk(ast.parse(file.read_text("utf-8")))
        if isinstance(node, ast.ClassDef)
    ]


def test_terms_stand_in_their_order_once() -> None:
    assert len(TERMS) > 60
    assert sorted(set(TERMS)) == TERMS


@pytest.mark.parametrize(("term", "said", "file"), ROWS, ids=TERMS)
def test_a_term_is_used_where_it_lives(term: str, said: str, file: str) -> None:
    assert said.endswith("."), "a sentence"
    form = "[ _-]?".join(re.split("[ -]", term))
    assert re.search(rf"(?<![a-z]){form}|{form.title()}", file + (ROOT / file).read_text("utf-8"), re.IGNORECASE)


def test_a_class_has_a_name_of_its_own() -> None:
    assert [name for name, count in Counter(name for name, _ in classes()).items() if count > 1] == []


def test_a_class_is_named_by_a_term_or_plainly() -> None:
    """A private one is its module's business, and the demo's stage is not the domain."""
    terms = {re.sub("[ -]", "", term) for term in TERMS}
    plain = set(" ".join(PLAIN.values()).split())

    def is_clear(name: str) -> bool:
        each = words(name)
        pairs = (first + second for first, second in pairwise(each))
        return any(stems(word) & terms for word in (*each, *pairs)) or bool(stems(each[-1]) & plain)

    public = [
        (name, str(file.relative_to(ROOT)))
        for name, file in classes()
        if not name.startswith("_") and "demo" not in file.parts
    ]
    assert len(public) > 200
    assert [each for each in public if not is_clear(each[0])] == [], "a term for the glossary, or a plainer name"
