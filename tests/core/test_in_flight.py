"""The items in flight: their bytes, and which of them may still end the worker."""

from dataclasses import replace
from typing import Any
from uuid import UUID

from reactor.core.dispatch.in_flight import InFlight
from reactor.core.item import Item, Oversized
from reactor.core.trials import FREE_LOSSES
from tests.core.test_lanes import claimed


def item(number: int, *, payload: Any = b"{}", losses: int = 0) -> Item:
    return replace(claimed(9, number), id=UUID(int=number), claim_no=number, payload=payload, losses=losses)


def test_bytes_are_of_the_payloads_that_were_read() -> None:
    in_flight = InFlight()
    first, second, large = item(1, payload=b"12345"), item(2, payload=b"12"), item(3, payload=Oversized(9_000_000))
    assert in_flight.add([first, second, large]) == [first, second, large]
    assert (in_flight.bytes, len(in_flight), in_flight.ids) == (7, 3, {first.id, second.id, large.id})
    assert in_flight.end([1, 3]) == [first, large]
    assert (in_flight.bytes, list(in_flight)) == (2, [second])


def test_a_row_that_is_claimed_again_meanwhile_is_ended_by_its_first_claim() -> None:
    in_flight, first = InFlight(), item(1)
    again = replace(first, claim_no=2)
    in_flight.add([first])
    assert in_flight.add([again]) == []
    assert in_flight.holds(first)
    assert not in_flight.holds(again)
    assert not in_flight.holds(item(2))
    assert in_flight.bytes == 2, "and counts once"


def risk(in_flight: InFlight) -> tuple[bool, bool]:
    return in_flight.is_busy, in_flight.is_trying


def test_what_only_waits_to_be_written_ends_no_worker() -> None:
    in_flight = InFlight()
    assert risk(in_flight) == (False, False)
    in_flight.add([item(1), item(2, losses=FREE_LOSSES - 1)])
    assert risk(in_flight) == (True, False)
    in_flight.add([item(3, losses=FREE_LOSSES)])
    assert risk(in_flight) == (True, True)
    in_flight.wait([3])
    assert risk(in_flight) == (True, False)
    in_flight.wait([1, 2])
    assert risk(in_flight) == (False, False)
    in_flight.end([1, 2, 3])
    in_flight.add([item(3, losses=FREE_LOSSES)])
    assert risk(in_flight) == (True, True), "what was forgotten is not remembered of the next claim"
