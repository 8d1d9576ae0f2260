"""Reads a Dockerfile: its stages, and in each the instructions with their arguments."""

import json
import re
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Stage:
    """What lies between one FROM and the next.

    Attributes:
        base: The image that it begins with.
        name: What it is called, empty for the last.
        instructions: Pairs of a keyword and what follows it, continuation lines joined.
    """

    base: str
    name: str
    instructions: list[tuple[str, str]]

    def all(self, keyword: str) -> list[str]:
        return [argument for word, argument in self.instructions if word == keyword]

    def one(self, keyword: str) -> str:
        [argument] = self.all(keyword)
        return argument


def parse(file: Path) -> list[Stage]:
    """Read the stages."""
    lines = (line for line in file.read_text().splitlines() if line.strip() and not line.lstrip().startswith("#"))
    stages: list[Stage] = []
    for line in re.sub(r"\\\n\s*", "", "\n".join(lines)).splitlines():
        keyword, _, argument = line.partition(" ")
        if keyword == "FROM":
            base, _, name = argument.partition(" AS ")
            stages.append(Stage(base, name, []))
        elif stages:
            stages[-1].instructions.append((keyword, argument.strip()))
    return stages


def exec_form(argument: str) -> list[str]:
    """The words of an instruction in exec form; fails where a shell would run it."""
    words = json.loads(argument)
    assert isinstance(words, list)
    return [str(word) for word in words]
