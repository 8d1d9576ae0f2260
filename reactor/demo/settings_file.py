"""The demo's settings in a file that a shell can read, so that the other commands can be tried on the demo."""

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from reactor.errors import ConfigurationError


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
