"""What Prometheus runs: alert rules with their tests, the dashboard's queries, and the names in both.

A query over a metric that does not exist is correct PromQL and never fires. So every name in a rule or a panel must be
in a scrape of this version, or be one of the few of other exporters that are listed here.
"""

import json
import re
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

import promql_parser
import yaml

from checks.tools import K8S, problems

MONITORING = K8S / "components" / "monitoring"
RULES = MONITORING / "prometheus-rule.yaml"
RULE_TESTS = MONITORING / "rules_test.yaml"
DASHBOARD = MONITORING / "dashboard.json"

FOREIGN = {
    "kube_pod_container_status_restarts_total": "kube-state-metrics: a process cannot tell how often it was restarted",
}
"""Names that are not ours, with where they come from."""

_SUFFIXES = re.compile(r"_(bucket|sum|count)$")
_VARIABLES = {"$__rate_interval": "5m", "$__interval": "1m", "$__range": "1h", "$namespace": ".*"}


def rules(file: Path = RULES) -> list[dict[str, Any]]:
    """The alert rules of a PrometheusRule."""
    groups = yaml.safe_load(file.read_text())["spec"]["groups"]
    return [rule for group in groups for rule in group["rules"]]


def queries(file: Path = RULES) -> tuple[list[tuple[str, str]], list[str]]:
    """The expressions of a PrometheusRule with the names of their rules, and the names that it records."""
    named = [(rule.get("alert", rule.get("record", "")), rule["expr"]) for rule in rules(file)]
    return named, [rule["record"] for rule in rules(file) if "record" in rule]


def lift(file: Path, directory: Path) -> Path:
    """Write the groups of a PrometheusRule as promtool reads them; return the file."""
    lifted = directory / "rules.yaml"
    groups = yaml.safe_load(file.read_text())["spec"]["groups"]
    lifted.write_text(yaml.safe_dump({"groups": groups}, sort_keys=False))
    return lifted


def rule_problems(file: Path, directory: Path) -> list[str]:
    """Have promtool read the rules."""
    return problems("promtool", "check", "rules", "--lint=all", "--lint-fatal", lift(file, directory))


def rule_test_problems(file: Path, tests: Path, directory: Path) -> list[str]:
    """Have promtool try each alert against made-up series."""
    lift(file, directory)
    copied = directory / tests.name
    copied.write_text(tests.read_text())
    return problems("promtool", "test", "rules", copied)


def scrape_problems(scrape: str) -> list[str]:
    """Have promtool judge names, units and helps of a scrape."""
    return problems("promtool", "check", "metrics", stdin=scrape)


def panels(file: Path = DASHBOARD) -> Iterator[tuple[str, str]]:
    """Titles and queries of the dashboard, with Grafana's variables filled in."""
    for panel in json.loads(file.read_text())["panels"]:
        for target in panel.get("targets", ()):
            query = target["expr"]
            for variable, value in _VARIABLES.items():
                query = query.replace(variable, value)
            yield panel["title"], query


def names(query: str) -> set[str]:
    """The metrics that a query asks for.

    Raises:
        ValueError: It is not PromQL.
    """
    found: set[str] = set()

    def visit(node: promql_parser.Expr) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.add(node.name or "")

    promql_parser.walk(promql_parser.parse(query), visit)
    return found


def name_problems(queries: Iterable[tuple[str, str]], scrape: str, *, recorded: Collection[str] = ()) -> list[str]:
    """Look every query's metrics up in a scrape.

    Args:
        queries: With what they are called.
        scrape: The text of one.
        recorded: Names that rules record.
    """
    scraped = set(re.findall(r"^# TYPE (\S+)", scrape, re.MULTILINE))
    told = {*scraped, *recorded, *FOREIGN}
    found = []
    for title, query in queries:
        try:
            asked = names(query)
        except ValueError as error:
            found.append(f"{title}: {error}")
            continue
        unknown = {name for name in asked if name not in told and _SUFFIXES.sub("", name) not in told}
        found += [f"{title}: no metric is called {name}" for name in sorted(unknown)]
    return found
