"""The items that a replica has in flight: claimed, and not settled."""

from collections.abc import Iterable, Iterator
from uuid import UUID

from reactor.core.item import Item
from reactor.core.trials import FREE_LOSSES


class InFlight:
    """The items of one claims session.

    They are kept by the numbers of their ids, because a UUID is hashed in Python and a number is not.

    Attributes:
        bytes: The bytes of their payloads.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._items: dict[int, Item] = {}
        self._suspected: set[int] = set()
        self._unwritten: set[int] = set()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._items.values())

    @property
    def ids(self) -> set[UUID]:
        """Their ids."""
        return {item.id for item in self}

    @property
    def is_busy(self) -> bool:
        """Whether one of them may still end this worker; one that only waits to be written does not."""
        return self._items.keys() > self._unwritten

    @property
    def is_trying(self) -> bool:
        """Whether one of them is suspected of having ended its workers, and may end this one."""
        return not self._suspected <= self._unwritten

    def holds(self, item: Item) -> bool:
        """Whether an item is in flight under the same claim."""
        held = self._items.get(item.id.int)
        return held is not None and held.claim_no == item.claim_no

    def add(self, claimed: Iterable[Item]) -> list[Item]:
        """Add items that were claimed, and return them.

        A row that a person made claimable while it is in flight is claimed once more. Such an item is left out: the
        first claim ends it.
        """
        added = [item for item in claimed if item.id.int not in self._items]
        for item in added:
            self._items[item.id.int] = item
            self.bytes += _size(item)
            if item.losses >= FREE_LOSSES:
                self._suspected.add(item.id.int)
        return added

    def wait(self, numbers: Iterable[int]) -> None:
        """Note items whose outcome is known and waits for a lock before it can be written."""
        self._unwritten.update(numbers)

    def end(self, numbers: Iterable[int]) -> list[Item]:
        """Remove items that are settled, and return them."""
        ended = [self._items.pop(number) for number in numbers]
        gone = [item.id.int for item in ended]
        self._unwritten.difference_update(gone)
        self._suspected.difference_update(gone)
        self.bytes -= sum(map(_size, ended))
        return ended


def _size(item: Item) -> int:
    """Bytes of its payload; one that is too large was not read."""
    return len(item.payload) if isinstance(item.payload, bytes) else 0
