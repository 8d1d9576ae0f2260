"""The picture of the layers in docs/architecture.md is that of the import contracts."""

import re
import tomllib

import pytest

from tests.docs.test_docs_google import ROOT

CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
PICTURES = re.findall(r"┌.*?┘", (ROOT / "docs" / "architecture.md").read_text("utf-8"), re.DOTALL)


def names(layer: str) -> set[str]:
    return {name.rpartition(".")[2] for name in re.findall(r"[\w.]+", layer)}


@pytest.mark.parametrize(("contract", "picture"), [("Arrows point one way", 0), ("In the core: ", 1)])
def test_the_picture_has_the_layers_of_the_contract(contract: str, picture: int) -> None:
    [layers] = [each["layers"] for each in CONTRACTS if each["name"].startswith(contract)]
    drawn = re.findall(r"^│ (.+?) +│", PICTURES[picture], re.MULTILINE)
    assert [names(line) for line in drawn] == [names(layer) for layer in layers]
    assert len(set(map(len, PICTURES[picture].splitlines()))) == 1, "the frame is straight"
