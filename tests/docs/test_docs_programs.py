"""Every command that a page shows is one: it is parsed as it would be run, and what it names is there."""

import importlib.util
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.test_docs_links import FOLDERS, PAGES
from tests.support.commands import whole

ROOT = Path(__file__).resolve().parents[2]
WORKSPACE = "7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10"
STANDS_FOR = {'"$workspace"': WORKSPACE, "UUID": WORKSPACE, "ID": WORKSPACE, "…": WORKSPACE}
"""What a reader fills in."""
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
BLOCK = re.compile(r"```(?:sh|console)\n([\s\S]*?)```|((?:^ {4,}\S.*\n?)+)", re.MULTILINE)


def shown() -> Iterator[tuple[str, str]]:
    """The lines of shell in the pages' blocks, each with its page; output is left out."""
    for page in PAGES:
        for fenced, indented in BLOCK.findall(page.read_text("utf-8").partition("<!-- made from")[0]):
            lines = [line.strip() for line in (fenced or indented).splitlines()]
            asked = [line[2:] for line in lines if line.startswith("$ ")] or lines
            yield from ((page.name, line) for line in asked)


def of(program: str) -> list[tuple[str, str]]:
    """What is given to a program, as far as the shell does not take it, wherever a page shows it."""
    pattern = re.compile(rf"\b{program}( [^|<>#\n]*?)?(?: {{2,}}.*|[|<>#].*)?$")
    return [(page, (found[1] or "").strip()) for page, line in shown() if (found := pattern.search(line))]


@pytest.mark.parametrize(("page", "given"), of("python -m reactor"))
def test_a_command_of_ours_is_parsed(page: str, given: str) -> None:
    for sign, value in STANDS_FOR.items():
        given = re.sub(rf"(?<!\S){re.escape(sign)}(?!\S)", value, given)
    command, words = whole(), shlex.split(given, comments=True)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert command.make_context("x", words, resilient_parsing=bool(not words)) is not None, page


@pytest.mark.parametrize(("page", "given"), of("python -m(?= (?!reactor))"))
def test_a_program_of_the_repository_is_there_and_has_the_options(page: str, given: str) -> None:
    module, *words = shlex.split(given)
    found = importlib.util.find_spec(module)
    assert found is not None, page
    assert found.origin is not None
    source = Path(found.origin)
    inside = "".join(file.read_text("utf-8") for file in source.parent.glob("*.py"))
    if module == "pytest":
        assert all((ROOT / word).exists() for word in words if "/" in word)
    elif module == "benchmarks":
        assert all((source.parent / f"{word}.py").exists() for word in words)
    else:
        assert all(f'"{word}"' in inside for word in words if word.startswith("--"))


def test_every_target_of_make_is_there() -> None:
    texts = [(page.name, page.read_text("utf-8")) for page in PAGES]
    shown_ones = [(name, target) for name, text in texts for target in re.findall(r"(?:`| {4})make ([a-z]+)", text)]
    assert len(shown_ones) > 20
    assert [each for each in shown_ones if each[1] not in TARGETS] == []


def test_every_file_that_a_command_takes_is_there() -> None:
    named = [
        (page, word)
        for page, line in shown()
        for word in re.findall(rf"(?<!\S)(?:{FOLDERS})/[\w./-]+(?![\w./*-])", line)
    ]
    assert named
    assert [each for each in named if "NAME" not in each[1] and not (ROOT / each[1]).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_block_of_shell_is_shell(page: Path) -> None:
    for block in re.findall(r"```sh\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        subprocess.run(["bash", "-n"], input=block, text=True, check=True)
