"""No template undoes what the console promises of all of them."""

import re
from pathlib import Path

import pytest

import reactor.console

ROOT = Path(reactor.console.__file__).parent
TEMPLATES = sorted((ROOT / "templates").rglob("*"))
FORBIDDEN = {
    "a value that is not escaped": r"\|\s*safe\b|autoescape|Markup",
    "a script in the page": r"<script(?![^>]*\bsrc=)|javascript:",
    "a style in the page": r"\sstyle\s*=|<style",
    "a handler in the page": r"\son[a-z]+\s*=",
    "something from elsewhere": r"(?:src|href|action)\s*=\s*[\"']?(?:https?:)?//",
    "a table that may be wider than the window": r"(?<!\"\) %\}\n)(?<!\"\) %\})<table",
}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_template_has(what: str) -> None:
    assert len(TEMPLATES) > 3
    pattern = re.compile(FORBIDDEN[what], re.IGNORECASE)
    bare = {each.name: re.sub(r"\{#.*?#\}", "", each.read_text("utf-8"), flags=re.DOTALL) for each in TEMPLATES}
    assert [name for name, text in bare.items() if pattern.search(text)] == []


def test_nothing_but_the_renderer_makes_markup() -> None:
    makers = [file.name for file in ROOT.rglob("*.py") if "Markup" in file.read_text("utf-8")]
    assert makers == ["rendering.py"]


def test_the_script_makes_no_markup_but_by_its_policy() -> None:
    script = (ROOT / "assets" / "console.js").read_text("utf-8")
    assert script.count("createHTML(") == 1
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(", script)
    assert len(script.splitlines()) < 150
