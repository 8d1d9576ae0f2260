"""Values of which every item makes some: immutable for the type checker, and plain slots when they run.

A frozen dataclass sets each field by a call of `object.__setattr__`, 0.1 µs each. An item makes fifteen values with a
hundred fields on its way, which was a fifteenth of the CPU that a drain needs for it. So what keeps these values as
they are is mypy: to it `value` is `dataclass` itself, and it refuses an assignment to a field of one that is frozen,
in all code of the repository. They compare and hash as frozen dataclasses do.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dataclasses import dataclass as value
else:

    def value(*, frozen: bool, slots: bool) -> Any:
        """Make a dataclass with slots that hashes as a frozen one does, and that nothing guards at run time."""
        return dataclass(slots=slots, unsafe_hash=frozen)


__all__ = ["value"]
