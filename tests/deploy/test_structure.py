"""Folders are as small, modules as long and imports as straight as they should be; each check finds its mistake."""

from pathlib import Path

import pytest

from checks.structure import MOST_AT_THE_ROOT, circles, structure_problems

LINES = "x = 1\n" * 100


def package(root: Path, **modules: str) -> None:
    for package in ("reactor", "calendar_emulator"):
        (root / package).mkdir(exist_ok=True)
        (root / package / "filler.py").write_text(LINES)
    for name, text in modules.items():
        (root / "reactor" / f"{name}.py").write_text(text)


def test_the_packages_are_well_built() -> None:
    assert structure_problems() == []


def test_a_package_without_a_mistake_has_none(tmp_path: Path) -> None:
    package(tmp_path, one=LINES, other=f"from reactor import one\n{LINES}")
    assert structure_problems(tmp_path) == []


def test_too_many_modules_at_the_root_are_found(tmp_path: Path) -> None:
    package(tmp_path, **{f"module_{number}": LINES for number in range(MOST_AT_THE_ROOT)})
    assert structure_problems(tmp_path) == ["reactor has 13 modules; 12 is the most"]


@pytest.mark.parametrize(("lines", "said"), [(79, "the median of its modules is 79"), (601, "one.py has 601 lines")])
def test_modules_that_are_too_short_or_too_long_are_found(tmp_path: Path, lines: int, said: str) -> None:
    package(tmp_path, one="x = 1\n" * lines, two="x = 1\n" * min(lines, 100), three="x = 1\n" * min(lines, 100))
    assert any(said in problem for problem in structure_problems(tmp_path))


@pytest.mark.parametrize(
    "back", ["import reactor.one", "from reactor import one", "def f():\n    from reactor.one import x"]
)
def test_a_circle_is_found(tmp_path: Path, back: str) -> None:
    package(tmp_path, one="from reactor.two import y\n", two="from reactor import three\n", three=f"{back}\n")
    [problem] = circles(tmp_path, "reactor")
    assert all(f"reactor.{name}" in problem for name in ("one", "two", "three"))
