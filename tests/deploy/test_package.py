"""The package as a user meets it: its version, and the Pythons that it runs on, are the same wherever they stand."""

import re
import subprocess
import sys
import tomllib
import zoneinfo
from collections.abc import Iterator

import pytest

import reactor
from checks.tools import K8S, ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
VERSION = reactor.__version__
"""The release; between two releases, the last one."""
PYTHONS = re.findall(r"Python :: (3\.\d+)\n", "\n".join([*PROJECT["project"]["classifiers"], ""]))
"""Those that the suite was run on, the oldest first."""


def read(name: str) -> str:
    return (ROOT / name).read_text()


def test_the_module_prints_its_version() -> None:
    result = subprocess.run([sys.executable, "-m", "reactor", "--version"], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == VERSION


def test_the_changelog_begins_with_this_release() -> None:
    unreleased, release, *_ = re.findall(r"^## \[(.+?)\](?: - (\d{4}-\d\d-\d\d))?$", read("CHANGELOG.md"), re.MULTILINE)
    assert unreleased == ("Unreleased", "")
    assert release[0] == VERSION
    assert release[1], "the day of the release"


@pytest.mark.parametrize(
    ("file", "pattern"),
    [
        ("Dockerfile", r"docker build -t calendar-sync-reactor:([\d.]+) "),
        ("docs/kubernetes.md", r"calendar-sync-reactor:([\d.]+) "),
        ("docs/reference/tour.md", r'reactor_build_info\{version="(.+?)"\}'),
        ("docs/reference/tour.md", r'"version": "(.+?)"'),
        ("k8s/overlays/prod/kustomization.yaml", r"newTag: ([\d.]+) "),
    ],
)
def test_each_place_names_this_release(file: str, pattern: str) -> None:
    found = set(re.findall(pattern, read(file)))
    assert found == {VERSION}


def test_the_image_of_the_base_has_no_tag_of_its_own() -> None:
    """It is the overlays' business: one place for each."""
    for manifest in (K8S / "base").glob("*.yaml"):
        assert set(re.findall(r"image: (\S+)", manifest.read_text())) <= {"calendar-sync-reactor"}


def test_each_place_names_the_oldest_python() -> None:
    oldest = PYTHONS[0]
    assert PROJECT["project"]["requires-python"] == f">={oldest}"
    assert PROJECT["tool"]["mypy"]["python_version"] == oldest
    assert PROJECT["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    makefile = read("Makefile")
    assert set(re.findall(r"--python-version (\S+)", makefile)) == {oldest}, "pins hold from there on"
    assert set(re.findall(r"sys\.version_info < \((\d+), (\d+)\)", makefile)) == {tuple(oldest.split("."))}
    assert set(re.findall(r"Python (\S+) or newer", makefile)) == {oldest}


def test_the_documents_name_the_pythons() -> None:
    for file in ("Makefile", "README.md", "CONTRIBUTING.md"):
        named = set(re.findall(r"Python (3\.\d+)(?: to (3\.\d+))?", read(file)))
        assert (PYTHONS[0], PYTHONS[-1]) in named, file


def test_the_image_s_python_is_one_of_them() -> None:
    bases = set(re.findall(r"python:(3\.\d+)-slim", read("Dockerfile")))
    assert len(bases) == 1
    assert bases <= set(PYTHONS)


@pytest.fixture
def without_the_systems_zones() -> Iterator[None]:
    zoneinfo.reset_tzpath(to=())
    yield
    zoneinfo.reset_tzpath()


@pytest.mark.parametrize("name", ["Europe/Berlin", "Europe/Kiev", "Asia/Calcutta", "US/Eastern", "UTC"])
def test_a_zone_is_known_where_the_system_does_not_know_it(without_the_systems_zones: None, name: str) -> None:
    """Debian 13, of which the image is made, leaves old names to a package of its own; browsers still say them."""
    assert zoneinfo.ZoneInfo.no_cache(name).key == name
