"""Run every check; exit code 1 where one finds something.

A program that is not here is told of, and is an error on a machine that has to have it: where `CI` is set.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from checks import manifests, promql, references
from checks.scrape import scrape
from checks.structure import structure_problems
from checks.tools import K8S, MissingToolError


def main() -> int:
    """Run them; return the exit code."""
    failed = False
    with tempfile.TemporaryDirectory() as directory:
        for name, check in _checks(Path(directory)):
            started = time.monotonic()
            try:
                found = check()
            except MissingToolError as error:
                print(f"?  {name}: not done. {error}", flush=True)
                failed |= bool(os.environ.get("CI"))
                continue
            print(
                f"{'x' if found else '.'}  {name} ({time.monotonic() - started:.1f} s)", *found, sep="\n   ", flush=True
            )
            failed |= bool(found)
    return int(failed)


def _checks(directory: Path) -> list[tuple[str, Callable[[], list[str]]]]:
    told: list[str] = []

    def metrics() -> list[str]:
        told.append(scrape())
        return promql.scrape_problems(told[0])

    def names() -> list[str]:
        queries, recorded = promql.queries()
        return promql.name_problems([*queries, *promql.panels()], told[0] if told else scrape(), recorded=recorded)

    checks: list[tuple[str, Callable[[], list[str]]]] = [
        ("folders, lengths and circles of imports", structure_problems),
        ("style", manifests.style_problems),
    ]
    for overlay in manifests.OVERLAYS:
        file = directory / f"{overlay}.yaml"
        checks += [
            (f"{overlay}: rendered", partial(_render, K8S / "overlays" / overlay, file)),
            (f"{overlay}: kinds of Kubernetes", partial(manifests.native_problems, file)),
            (f"{overlay}: custom resources", partial(_custom, file)),
            (f"{overlay}: names and selectors", partial(_references, file)),
            (f"{overlay}: security", partial(manifests.security_problems, file)),
        ]
    return [
        *checks,
        ("alert rules", partial(promql.rule_problems, promql.RULES, directory)),
        ("alerts fire and are silent", partial(promql.rule_test_problems, promql.RULES, promql.RULE_TESTS, directory)),
        ("metrics of a live scrape", metrics),
        ("names in alerts and dashboard", names),
    ]


def _render(overlay: Path, file: Path) -> list[str]:
    text, problems = manifests.render(overlay)
    file.write_text(text)
    return problems


def _custom(file: Path) -> list[str]:
    return manifests.custom_problems(manifests.documents(file.read_text()))


def _references(file: Path) -> list[str]:
    return references.reference_problems(manifests.documents(file.read_text()))


if __name__ == "__main__":
    sys.exit(main())
