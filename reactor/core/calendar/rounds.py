"""Runs many dialogues at once, in rounds: decides which requests may travel together, without any I/O.

Each dialogue has at most one open question. A round is all open questions; they are put into groups, each of which may
be one batch: never two about the same event, because Google carries the parts of a batch out in any order.

If several dialogues ask the same of one calendar at the same time, it is asked once, and all of them get the reply. So
a mass cancel, which has to see the calendar before it believes that fifty events are gone, looks at it once, and after
the answers that it confirms.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from typing import Generic, TypeVar

from reactor.core.calendar.dialogue import Dialogue, Send
from reactor.core.calendar.messages import Method, Reply
from reactor.core.outcome import Dead, Retry

T = TypeVar("T")


class DialogueRunner(Generic[T]):
    """Drives some dialogues, each named by its place in the list.

    Args:
        dialogues: The dialogues, not begun yet.
        ended: Called with the place and the outcome of a dialogue, as soon as it has ended.
    """

    def __init__(
        self, dialogues: Sequence[Dialogue[T]], ended: Callable[[int, T | Retry | Dead], None] | None = None
    ) -> None:
        self._dialogues = dialogues
        self._ended = ended
        self._asks: dict[int, Send] = {}
        self._results: dict[int, T | Retry | Dead] = {}
        self._same: dict[int, list[int]] = {}
        for place in range(len(dialogues)):
            self._go_on(place, None)

    @property
    def over(self) -> bool:
        """Whether every dialogue has ended."""
        return not self._asks

    @property
    def results(self) -> list[T | Retry | Dead]:
        """The outcomes of the dialogues, in their order; only when all are over."""
        return [self._results[place] for place in range(len(self._dialogues))]

    @property
    def pause(self) -> float:
        """Seconds to wait before the next round: none while any question is ready, then the longest that is wanted."""
        pauses = [ask.pause for ask in self._asks.values()]
        return max(pauses) if pauses and all(pauses) else 0.0

    def groups(self, parts: int) -> list[dict[int, Send]]:
        """The next round: the questions that are ready, in groups of at most `parts`.

        Questions that wait for a pause are left to a later round, unless all do: then the pause has been made.
        """
        ready = self._once({place: ask for place, ask in self._asks.items() if not ask.pause} or self._asks)
        groups: list[dict[int, Send]] = []
        open_groups: list[tuple[dict[int, Send], set[str]]] = []
        for place, ask in ready.items():
            if ask.alone:
                groups.append({place: ask})
                continue
            resource = ask.request.resource or str(place)
            for group, resources in open_groups:
                if len(group) < parts and resource not in resources:
                    break
            else:
                group, resources = {}, set()
                groups.append(group)
                open_groups.append((group, resources))
            group[place] = ask
            resources.add(resource)
        return groups

    def answer(self, place: int, reply: Reply) -> None:
        """Give a reply to the dialogue that asked, and to all that asked the same."""
        others = self._same.pop(place, ())
        self._go_on(place, reply)
        for each in others:
            self._go_on(each, reply)

    def askers(self, group: Mapping[int, Send]) -> Iterable[int]:
        """All dialogues that get a reply to a question of a group."""
        return chain(group, *(self._same.get(place, ()) for place in group)) if self._same else group

    def send_alone(self, place: int) -> None:
        """Have a question sent again, outside a batch."""
        self._asks[place] = replace(self._asks[place], alone=True, pause=0.0)

    def abandon(self, outcome: Retry | Dead) -> None:
        """End every dialogue that has not ended, with the same outcome."""
        for place in list(self._asks):
            self._dialogues[place].close()
            self._end(place, outcome)

    def _once(self, ready: dict[int, Send]) -> dict[int, Send]:
        """The questions without those about a calendar that another one asks too."""
        self._same = {}
        first: dict[str, int] = {}
        once: dict[int, Send] = {}
        for place, ask in ready.items():
            target = ask.request.target
            if ask.request.api_method is Method.LIST and first.setdefault(target, place) != place:
                self._same.setdefault(first[target], []).append(place)
            else:
                once[place] = ask
        return once

    def _go_on(self, place: int, reply: Reply | None) -> None:
        """Hand a dialogue its reply, None to begin it; some end without a question."""
        try:
            self._asks[place] = self._dialogues[place].send(reply)  # type: ignore[arg-type]  # None begins a generator
        except StopIteration as stop:
            self._end(place, stop.value)

    def _end(self, place: int, result: T | Retry | Dead) -> None:
        self._asks.pop(place, None)
        self._results[place] = result
        if self._ended is not None:
            self._ended(place, result)
