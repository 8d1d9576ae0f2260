"""Sample data: when CPython's releases came out.

The dates are those of the release schedules PEP 664, PEP 693, PEP 719 and PEP 745
(https://peps.python.org/pep-0664/ and so on), which are in the public domain. Only the dates of the releases are from
there; the deadlines, gates and reviews that the demo tells around them are invented.
"""

from dataclasses import dataclass
from datetime import date

_SCHEDULES = {
    ("3.11", 664): """
        alpha 1: 2021-10-05, alpha 2: 2021-11-02, alpha 3: 2021-12-08, alpha 4: 2022-01-14, alpha 5: 2022-02-03,
        alpha 6: 2022-03-07, alpha 7: 2022-04-05, beta 1: 2022-05-08, beta 2: 2022-05-31, beta 3: 2022-06-01,
        beta 4: 2022-07-11, beta 5: 2022-07-26, candidate 1: 2022-08-08, candidate 2: 2022-09-12, final: 2022-10-24""",
    ("3.12", 693): """
        alpha 1: 2022-10-24, alpha 2: 2022-11-14, alpha 3: 2022-12-06, alpha 4: 2023-01-10, alpha 5: 2023-02-07,
        alpha 6: 2023-03-07, alpha 7: 2023-04-04, beta 1: 2023-05-22, beta 2: 2023-06-06, beta 3: 2023-06-19,
        beta 4: 2023-07-11, candidate 1: 2023-08-06, candidate 2: 2023-09-06, candidate 3: 2023-09-19,
        final: 2023-10-02""",
    ("3.13", 719): """
        alpha 1: 2023-10-13, alpha 2: 2023-11-22, alpha 3: 2024-01-17, alpha 4: 2024-02-15, alpha 5: 2024-03-12,
        alpha 6: 2024-04-09, beta 1: 2024-05-08, beta 2: 2024-06-05, beta 3: 2024-06-27, beta 4: 2024-07-18,
        candidate 1: 2024-08-01, candidate 2: 2024-09-06, candidate 3: 2024-10-01, final: 2024-10-07""",
    ("3.14", 745): """
        alpha 1: 2024-10-15, alpha 2: 2024-11-19, alpha 3: 2024-12-17, alpha 4: 2025-01-14, alpha 5: 2025-02-11,
        alpha 6: 2025-03-14, alpha 7: 2025-04-08, beta 1: 2025-05-07, beta 2: 2025-05-26, beta 3: 2025-06-17,
        beta 4: 2025-07-08, candidate 1: 2025-07-22, candidate 2: 2025-08-14, candidate 3: 2025-09-18,
        final: 2025-10-07""",
}


@dataclass(frozen=True, slots=True)
class Release:
    """One release: `beta 1` of `3.13.0`, and its day."""

    name: str
    day: date


@dataclass(frozen=True, slots=True)
class Schedule:
    """The releases of one version, in their order.

    Attributes:
        version: Such as `3.13`.
        pep: The number of the document that the dates are from.
        releases: From the first alpha to the final release.
    """

    version: str
    pep: int
    releases: tuple[Release, ...]


def schedules() -> list[Schedule]:
    """The schedules of four versions."""
    return [Schedule(version, pep, tuple(_releases(text))) for (version, pep), text in _SCHEDULES.items()]


def _releases(text: str) -> list[Release]:
    pairs = (entry.split(":") for entry in text.split(","))
    return [Release(name.strip(), date.fromisoformat(day.strip())) for name, day in pairs]
