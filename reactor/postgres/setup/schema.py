"""The SQL of the schema: where it lies, and which objects it says must exist.

The files under `db/` are written for any tool that runs SQL. What `migrate --check` looks for is read out of them by a
few conventions:

- ``create or replace function public.f(...) ... as $$ body $$`` is ours: the database must have that body. Where
  a later migration writes the function anew, with the same arguments and meaning, it must have that one's.
- ``create function public.f`` belongs to the contract and may have been there before us: it must exist.
- ``create or replace trigger t ... on public.r`` is followed by a comment that ends in a digest of the statement. The
  comment is how the database remembers which text a trigger was made from: what PostgreSQL prints for a trigger differs
  between versions.
- ``create index concurrently if not exists i`` and ``create policy p on public.r`` must exist, the index valid.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

_OUR_FUNCTION = re.compile(r"create or replace function public\.(\w+)\(.*?as \$(\w*)\$(.*?)\$\2\$", re.DOTALL)
_CONTRACT_FUNCTION = re.compile(r"create function public\.(\w+)\(")
_TRIGGER = re.compile(r"create or replace trigger (\w+)\s.*?\son public\.(\w+)\s.*?;", re.DOTALL)
_INDEX = re.compile(r"create index concurrently if not exists (\w+)")
_SEQUENCE = re.compile(r"create sequence if not exists public\.(\w+)")
_POLICY = re.compile(r"create policy (\w+) on public\.(\w+)")


@dataclass(frozen=True, slots=True)
class OnTable:
    """Something that has its name within a table: a trigger or a policy."""

    table: str
    name: str


@dataclass(frozen=True)
class Script:
    """One SQL file.

    Attributes:
        path: Where it lies; `id` is its name without the ending.
    """

    path: Path

    @property
    def id(self) -> str:
        """Name under which an applied migration is recorded."""
        return self.path.stem

    @property
    def is_migration(self) -> bool:
        """Whether it is applied once and recorded, and not run again and again."""
        return self.path.parent.name == "migrations"

    @property
    def text(self) -> str:
        """The content of the file."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def functions(self) -> dict[str, str | None]:
        """Names of functions with their bodies, None where any body will do."""
        contract: dict[str, str | None] = dict.fromkeys(_CONTRACT_FUNCTION.findall(self.text))
        return contract | {name: body for name, _, body in _OUR_FUNCTION.findall(self.text)}

    @cached_property
    def triggers(self) -> dict[OnTable, str]:
        """Triggers with the comments that they must bear."""
        found = _TRIGGER.finditer(self.text)
        return {OnTable(match[2], match[1]): trigger_comment(match[0]) for match in found}

    @cached_property
    def indexes(self) -> list[str]:
        """The names of the indexes that the file makes."""
        return _INDEX.findall(self.text)

    @cached_property
    def sequences(self) -> list[str]:
        """The names of the sequences that the file makes."""
        return _SEQUENCE.findall(self.text)

    @cached_property
    def policies(self) -> list[OnTable]:
        """Policies of row level security."""
        return [OnTable(table, name) for name, table in _POLICY.findall(self.text)]


def trigger_comment(statement: str) -> str:
    """Return the comment that says from which statement a trigger was made."""
    words = " ".join(statement.split())
    return f"calendar-sync reactor, {hashlib.sha256(words.encode()).hexdigest()[:8]}"


def directory() -> Path:
    """Return the directory of the SQL files: inside the installed package, or at the top of a checkout."""
    package = Path(__file__).resolve().parents[2]
    installed = package / "db"
    return installed if installed.is_dir() else package.parent / "db"


@cache
def migrations() -> tuple[Script, ...]:
    """Return the migrations in their order; read once, because an idle replica compares them again and again."""
    return tuple(Script(path) for path in sorted((directory() / "migrations").glob("*.sql")))


@cache
def triggers() -> Script:
    """Return the re-runnable file of the triggers."""
    return Script(directory() / "triggers.sql")


@cache
def roles() -> Script:
    """Return the re-runnable file of the roles."""
    return Script(directory() / "roles.sql")


def examples() -> list[Script]:
    """Return the example application: tables, which come before the migrations, then events and triggers."""
    return [Script(path) for path in sorted((directory() / "examples").glob("*.sql"))]
