"""`python -m tests.simulator`: runs histories; a failure is made smaller and told."""

import argparse
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from multiprocessing import Pool

from reactor.core.calendar.answers import TABLE
from tests.simulator.history import draw
from tests.simulator.run import Result, run
from tests.simulator.shrink import kind, shrink


def main() -> int:
    """Run what the command line says; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulator", description=__doc__)
    parser.add_argument("--seed", type=int, help="run this one history and tell its story")
    parser.add_argument("--count", type=int, default=0, help="run so many histories")
    parser.add_argument("--minutes", type=float, default=0.0, help="run histories for so long")
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--no-shrink", action="store_true", help="tell a failure as it is")
    wanted = parser.parse_args()
    if wanted.seed is not None:
        return _one(wanted.seed, smaller=not wanted.no_shrink)
    return _many(wanted)


def _one(seed: int, *, smaller: bool) -> int:
    result = run(draw(seed))
    if result.problem and smaller:
        print("found:", result.problem, "- making it smaller", file=sys.stderr)
        result = shrink(result, told=lambda text: print(text, file=sys.stderr))
    tell(result)
    return int(bool(result.problem))


def tell(result: Result) -> None:
    """Print a history, its story and what it came to."""
    print(f"seed {result.history.seed}: {result.history.setup}")
    for event in result.history.events:
        print(f"  {event.at:8.3f}  {event.what}")
    print(result.told())


def _many(wanted: argparse.Namespace) -> int:
    began = time.monotonic()
    found: dict[str, list[int]] = {}
    seen: Counter[str] = Counter()
    n = 0
    with Pool(wanted.jobs) as pool:
        for seed, problem, happened in pool.imap_unordered(_tried, _seeds(wanted)):
            n += 1
            seen.update(happened)
            if problem:
                found.setdefault(kind(problem), []).append(seed)
                print(f"seed {seed}: {problem}", flush=True)
            if wanted.minutes and time.monotonic() - began > 60 * wanted.minutes:
                break  # seeds are drawn ahead of the histories
    minutes = (time.monotonic() - began) / 60
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    a_core = n / max((used.ru_utime + used.ru_stime) / 60, 0.001)
    print(f"{n} histories in {minutes:.1f} min by {wanted.jobs} processes; {a_core:.0f} a minute of a core's time")
    answers = {name.removeprefix("answer "): seen.pop(name) for name in list(seen) if name.startswith("answer ")}
    print(dict(seen.most_common(60)))
    print("answers:", answers, "not met:", [rule.name for rule in TABLE if rule.name not in answers])
    for what, seeds in found.items():
        print(f"{len(seeds)} x {what}: seeds {sorted(seeds)[:10]}")
    return int(bool(found))


def _tried(seed: int) -> tuple[int, str, Counter[str]]:
    result = run(draw(seed))
    return seed, result.problem, result.seen


def _seeds(wanted: argparse.Namespace) -> Iterator[int]:
    for n in count():
        if n >= (wanted.count or (1_000_000 if wanted.minutes else 300)):
            return
        yield wanted.first + n


if __name__ == "__main__":
    sys.exit(main())
