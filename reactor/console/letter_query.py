"""Which dead letters a page is about: read from its address, and written as an address and as a command again."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from shlex import quote
from urllib.parse import urlencode
from uuid import UUID

from reactor.desk.letters.dead_letters import AGE_TEXT, CODES, LetterFilter, age_of
from reactor.errors import ConfigurationError


@dataclass(frozen=True, slots=True)
class DeadLetterQuery:
    """The filters, as they were written; "" for none.

    Attributes:
        workspace: A workspace's id.
        code: A code, in capitals.
        age: An age, such as 12h.
        error: The whole of an error.
    """

    workspace: str = ""
    code: str = ""
    age: str = ""
    error: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> "DeadLetterQuery":
        """Take the filters out of an address or a form."""
        given = {name: query.get(name, "").strip() for name in ("workspace", "code", "age", "error")}
        return cls(**{**given, "code": given["code"].upper()})

    @property
    def filter(self) -> LetterFilter:
        """The filters as the desk takes them.

        Raises:
            ConfigurationError: A filter has a value that cannot be used.
        """
        age = age_of(self.age) if self.age else None
        if self.age and age is None:
            raise ConfigurationError(f"An age is {AGE_TEXT}.")
        if self.code and self.code not in CODES:
            raise ConfigurationError(f"There is no such code. Codes are: {', '.join(sorted(CODES))}.")
        workspace = read_workspace(self.workspace) if self.workspace else None
        return LetterFilter(workspace, self.code or None, age=age, error=self.error or None)

    @property
    def fields(self) -> dict[str, str]:
        """The filters that are set, by their names."""
        return {name: value for name, value in asdict(self).items() if value}

    def path(self, page: str, **more: str) -> str:
        """The address of a page with these filters, and with others instead of some."""
        fields = {name: value for name, value in {**self.fields, **more}.items() if value}
        return f"{page}?{urlencode(fields)}" if fields else page

    def command(self, name: str) -> str:
        """The command with these filters."""
        options = "".join(f" --{option} {quote(value)}" for option, value in self.fields.items())
        return f"python -m reactor dead-letters {name}{options}"


def read_workspace(text: str) -> UUID:
    """Read the id of a workspace.

    Raises:
        ConfigurationError: It is none.
    """
    try:
        return UUID(text)
    except ValueError:
        raise ConfigurationError(
            "This is not the id of a workspace: give one such as 7d1f3c52-4a51-4a3e-9a0d-0d4f1f1f5b10."
        ) from None
