"""The pages are one path: every link leads somewhere, every page is listed, every file that is named is there."""

import re
from pathlib import Path

import pytest

from tests.app.test_texts import VAGUE
from tests.docs.test_docs_google import ROOT

PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
PROMISES = {ROOT / "docs" / "proofs.md"}  # names of tests, in their words
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
FOLDERS = "reactor|calendar_emulator|db|docs|tests|tools|checks|benchmarks|k8s|requirements"
FILE = re.compile(rf"`([\w./-]+\.(?:py|sql|yaml|md|svg)|(?:{FOLDERS})/[\w/-]*)`")
BELOW = (
    "",
    "reactor",
    "docs",
    "docs/reference",
    "db",
    "db/migrations",
    "db/examples",
    "tests/simulator",
    "reactor/observability",
)
"""Where a page may take a file for granted to be."""


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    heads = (re.sub(r"[^\w\- ]", "", head.lower()) for head in HEADING.findall(page.read_text("utf-8")))
    return {head.replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    dead = []
    for link in LINK.findall(page.read_text("utf-8")):
        if re.match(r"https?:|mailto:", link):
            continue
        file, _, anchor = link.partition("#")
        to = (page.parent / file).resolve() if file else page
        if not to.exists() or (anchor and anchor not in anchors(to)):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_that_is_named_is_there(page: Path) -> None:
    named = [name for name in FILE.findall(page.read_text("utf-8")) if not re.search("NAME|NNNN", name)]
    assert [name for name in named if not any((ROOT / below / name).exists() for below in BELOW)] == []


def test_every_page_stands_in_the_list_once() -> None:
    contents = ROOT / "docs" / "README.md"
    listed = [link for link in LINK.findall(contents.read_text("utf-8")) if link.endswith(".md") and "../" not in link]
    pages = {str(page.relative_to(contents.parent)) for page in PAGES if page.is_relative_to(contents.parent)}
    assert sorted(listed) == sorted(pages - {"README.md"})


@pytest.mark.parametrize("page", sorted(set(PAGES) - PROMISES), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_says_who_and_why_in_plain_words(page: Path) -> None:
    text = re.sub(r"`[^`\n]*`|\S+@\S+", "", page.read_text("utf-8"))  # names of tests, addresses
    assert VAGUE.findall(text) == []
