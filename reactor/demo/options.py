"""How a demo is wanted, and a file with its settings for a shell, so that other commands can be tried on it."""

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reactor.errors import ConfigurationError

DEFAULT_RATE = 40.0


@dataclass(frozen=True, slots=True)
class Options:
    """The options of `python -m reactor demo`.

    Attributes:
        items: End after so many rows of the outbox; None: go on until stopped.
        seed: Of what people do and of what goes wrong.
        rate: Rows a second; 0 for as many as there can be.
        as_json: Print one JSON object and nothing else.
        database_url: A server to make the demo's database on; None for an embedded one.
        settings: A file for the demo's settings, so that a shell can run commands on it while it goes on.
    """

    items: int | None = None
    seed: int = 0
    rate: float = DEFAULT_RATE
    as_json: bool = False
    database_url: str | None = None
    settings: Path | None = None


@contextmanager
def settings_file(path: Path | None, variables: Mapping[str, str]) -> Iterator[None]:
    """Keep a file with `export NAME=value` lines for the length of the block; only its owner can read it.

    Args:
        path: The file, which must not exist yet; None for no file.
        variables: The settings, by name in any case.

    Raises:
        ConfigurationError: There is such a file already, or it cannot be made.
    """
    if path is None:
        yield
        return
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise ConfigurationError(
            f"There is a file {path} already: remove it, or give --settings another one."
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be made ({error.strerror}): give --settings another file.") from None
    try:
        with os.fdopen(descriptor, "w") as file:
            file.writelines(f"export {name.upper()}={shlex.quote(value)}\n" for name, value in variables.items())
        yield
    finally:
        path.unlink(missing_ok=True)
