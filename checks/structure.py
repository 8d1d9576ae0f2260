"""How the packages are built: how many modules a folder has, how long they are, and that none is part of a circle.

Which layer may import which is said by the contracts in pyproject.toml; circles they see only where layers are named.
`python -m checks.structure` prints the figures.
"""

import ast
from collections import Counter
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from statistics import median

from checks.tools import ROOT

PACKAGES = ("reactor", "calendar_emulator")
MOST_AT_THE_ROOT = 12
MOST_IN_A_FOLDER = 20
MEDIAN_LINES = (80, 150)
MOST_LINES = 480  # of the one longest file; half of all have a quarter of that


def figures(root: Path = ROOT) -> Iterator[str]:
    """The modules of each folder with their median length, a line for each, and of each package."""
    for package in PACKAGES:
        lines = _lengths(root / package)
        yield f"{package}: {len(lines)} modules, {sum(lines.values()):,} lines, median {median(lines.values()):g}"
        for folder, count in sorted(_folders(root / package).items()):
            inside = [length for file, length in lines.items() if file.parent == folder]
            yield f"  {folder.relative_to(root)}: {count} modules, median {median(inside):g} lines"


def structure_problems(root: Path = ROOT) -> list[str]:
    """Look at the folders, the lengths and the circles."""
    found = []
    for package in PACKAGES:
        for folder, count in _folders(root / package).items():
            most = MOST_AT_THE_ROOT if folder == root / "reactor" else MOST_IN_A_FOLDER
            if count > most:
                found.append(f"{folder.relative_to(root)} has {count} modules; {most} is the most")
        lines = _lengths(root / package)
        least, most_ = MEDIAN_LINES
        if not least <= median(lines.values()) <= most_:
            found.append(f"{package}: the median of its modules is {median(lines.values()):g} lines")
        found += [
            f"{file.relative_to(root)} has {length} lines" for file, length in lines.items() if length > MOST_LINES
        ]
        found += circles(root, package)
    return found


def circles(root: Path, package: str) -> Iterator[str]:
    """Modules that import each other, also by way of others and also within a function."""
    try:
        TopologicalSorter(imports(root, package)).prepare()
    except CycleError as error:
        yield "a circle of imports: " + " -> ".join(error.args[1])


def imports(root: Path, package: str) -> Mapping[str, set[str]]:
    """The modules of a package, each with those of the package that it imports."""
    modules = {_name(file, root): file for file in (root / package).rglob("*.py")}
    graph = {}
    for name, file in modules.items():
        tree = ast.parse(file.read_text("utf-8"))
        graph[name] = {each for each in _imported(tree, set(modules)) if each != name}
    return graph


def _imported(tree: ast.Module, modules: set[str]) -> Iterator[str]:
    """A module that is imported from a package counts, and not the package, which need not import it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (each.name for each in node.names if each.name in modules)
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for each in node.names:
                inner = f"{node.module}.{each.name}"
                yield from (name for name in ([inner] if inner in modules else [node.module]) if name in modules)


def _name(file: Path, root: Path) -> str:
    return ".".join(file.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def _folders(package: Path) -> Counter[Path]:
    return Counter(file.parent for file in package.rglob("*.py"))


def _lengths(package: Path) -> dict[Path, int]:
    """The lines of each module; what a package's own file says is its first sentence, and counts for nothing."""
    files = (file for file in package.rglob("*.py") if file.name != "__init__.py")
    return {file: len(file.read_text("utf-8").splitlines()) for file in files}


if __name__ == "__main__":
    print(*figures(), *structure_problems(), sep="\n")
