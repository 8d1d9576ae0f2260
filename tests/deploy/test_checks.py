"""Every check of the manifests finds the mistake that it is there for, and the manifests have none.

The whole of them is `make check`'s; here each is given something broken. What needs a program that this machine does
not have is skipped, and says which.
"""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from checks import manifests, promql, references, tools

OPERATIONS = tools.ROOT / "docs" / "operations.md"


@pytest.fixture(autouse=True)
def need_tools(request: pytest.FixtureRequest) -> None:
    for mark in request.node.iter_markers("tool"):
        try:
            tools.find(mark.args[0])
        except tools.MissingToolError as error:
            pytest.skip(str(error))


@pytest.fixture
def k8s(tmp_path: Path) -> Path:
    return Path(shutil.copytree(tools.K8S, tmp_path / "k8s"))


def replace(file: Path, old: str, new: str) -> Path:
    """Plant a mistake."""
    text = file.read_text()
    assert old in text, "there is no such place for a mistake"
    file.write_text(text.replace(old, new))
    return file


def rendered(k8s: Path, overlay: str) -> Path:
    text, problems = manifests.render(k8s / "overlays" / overlay)
    assert not problems
    file = k8s / f"{overlay}.yaml"
    file.write_text(text)
    return file


@pytest.mark.tool("kubectl")
def test_a_file_that_is_named_and_absent_is_found(k8s: Path) -> None:
    (k8s / "base" / "network-policy.yaml").unlink()
    _, [problem] = manifests.render(k8s / "overlays" / "prod")
    assert "network-policy.yaml" in problem


@pytest.mark.tool("kubernetes-validate")
@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("readinessProbe:", "readynessProbe:", "readynessProbe"),
        ("failureThreshold: 60", "failureTreshold: 60", "failureTreshold"),
        ("terminationGracePeriodSeconds: 45", "terminationGracePeriodSeconds: 45s", "45s"),
    ],
)
def test_a_misspelt_field_is_found(k8s: Path, old: str, new: str, told: str) -> None:
    replace(k8s / "base" / "deployment.yaml", old, new)
    problems = manifests.native_problems(rendered(k8s, "dev"))
    assert any(told in problem for problem in problems)


@pytest.mark.tool("kubernetes-validate")
def test_nothing_is_not_well(tmp_path: Path) -> None:
    file = tmp_path / "empty.yaml"
    file.write_text("")
    assert manifests.native_problems(file) == ["nothing was rendered"]


@pytest.mark.tool("kubectl")
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("monitoring/pod-monitor.yaml", "scrapeTimeout", "scrapeTimeOut"),
        ("monitoring/pod-monitor.yaml", "interval: 15s", "interval: 15"),
        ("monitoring/prometheus-rule.yaml", "annotations:", "anotations:"),
        ("keda/scaled-object.yaml", "minReplicaCount", "minReplicas"),
        ("keda/scaled-object.yaml", 'targetQueryValue: "2000"', "targetQueryValue: 2000"),
        ("keda/scaled-object.yaml", "parameter: connection", "parameter: conection"),
        ("external-secret/external-secrets.yaml", "extract:", "extrakt:"),
        ("external-secret/external-secrets.yaml", "external-secrets.io/v1", "external-secrets.io/v1beta1"),
    ],
)
def test_a_mistake_in_a_custom_resource_is_found(k8s: Path, file: str, old: str, new: str) -> None:
    assert manifests.custom_problems(manifests.documents(rendered(k8s, "prod").read_text())) == []
    replace(k8s / "components" / file, old, new)
    assert manifests.custom_problems(manifests.documents(rendered(k8s, "prod").read_text()))


@pytest.mark.tool("kubectl")
@pytest.mark.parametrize(
    ("file", "old", "new", "told"),
    [
        (
            "base/deployment.yaml",
            "serviceAccountName: reactor",
            "serviceAccountName: reacter",
            "ServiceAccount reacter",
        ),
        ("base/migrate.yaml", "name: reactor-owner", "name: owner", "Secret owner"),
        ("components/keda/scaled-object.yaml", "name: reactor-keda", "name: keda", "Secret keda"),
        ("components/monitoring/pod-monitor.yaml", "component: worker", "component: wrker", "selects no pod"),
        ("base/disruption-budget.yaml", "component: worker", "component: wrker", "selects no pod"),
        ("components/console/service.yaml", "component: console", "component: consle", "selects no pod"),
        (
            "components/console/deployment.yaml",
            "name: reactor-console\n          ports",
            "name: x\n          ports",
            "Secret x",
        ),
    ],
)
def test_a_name_that_nothing_bears_is_found(k8s: Path, file: str, old: str, new: str, told: str) -> None:
    assert references.reference_problems(manifests.documents(rendered(k8s, "prod").read_text())) == []
    replace(k8s / file, old, new)
    [problem] = references.reference_problems(manifests.documents(rendered(k8s, "prod").read_text()))
    assert told in problem


@pytest.mark.tool("kubectl")
def test_the_scaler_has_the_number_of_replicas_to_itself(k8s: Path) -> None:
    replicas = {}
    for overlay in manifests.OVERLAYS:
        documents = manifests.documents(rendered(k8s, overlay).read_text())
        [deployment] = [
            document
            for document in documents
            if (document["kind"], document["metadata"]["name"]) == ("Deployment", "reactor")
        ]
        replicas[overlay] = deployment["spec"].get("replicas")
    assert replicas == {"dev": 1, "prod": None}


def test_a_kind_that_nobody_described_is_found() -> None:
    unknown = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "a"}}
    assert manifests.custom_problems([unknown]) == ["Thing a: no schema in checks/schemas"]


@pytest.mark.tool("checkov")
def test_a_pod_that_may_write_its_own_files_is_found(k8s: Path) -> None:
    replace(k8s / "base" / "deployment.yaml", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false")
    [problem] = manifests.security_problems(rendered(k8s, "dev"))
    assert "Failed checks: 1" in problem
    assert "CKV_K8S_22" in problem


@pytest.mark.tool("yamllint")
def test_a_key_that_stands_twice_is_found(k8s: Path) -> None:
    replace(k8s / "base" / "service-account.yaml", "kind: ServiceAccount", "kind: ServiceAccount\nkind: Pod")
    [problem] = manifests.style_problems(k8s)
    assert "duplication of key" in problem


@pytest.mark.tool("promtool")
def test_an_expression_that_is_not_promql_is_found(k8s: Path, tmp_path: Path) -> None:
    rules = replace(k8s / "components" / "monitoring" / "prometheus-rule.yaml", "absent(reactor", "absent((reactor")
    assert promql.rule_problems(rules, tmp_path)


ALERTS = [rule["alert"] for rule in promql.rules() if "alert" in rule]


@pytest.mark.tool("promtool")
@pytest.mark.parametrize("mistake", ["never", "always", "at once"])
def test_an_alert_that_fires_wrongly_is_found(tmp_path: Path, mistake: str) -> None:
    """Made to fire never, to fire always, and to fire without their delay: the tests of each of them fail."""
    document = yaml.safe_load(promql.RULES.read_text())
    changed = set()
    for rule in (rule for group in document["spec"]["groups"] for rule in group["rules"] if "alert" in rule):
        has_delay = rule.pop("for", None) is not None
        if mistake == "never":
            rule["expr"] = f"({rule['expr']}) and vector(1) == 2"
        elif mistake == "always":
            rule["expr"] = "vector(1)"
        if mistake != "at once" or has_delay:
            changed.add(rule["alert"])
    broken = tmp_path / "prometheus-rule.yaml"
    broken.write_text(yaml.safe_dump(document))
    [problem] = promql.rule_test_problems(broken, promql.RULE_TESTS, tmp_path)
    assert set(re.findall(r"alertname: ?(\w+)", problem)) == changed


def test_a_metric_that_is_not_told_is_found() -> None:
    scrape = "# TYPE reactor_ready gauge\n# TYPE reactor_item_duration_seconds histogram\n# TYPE a_total counter\n"
    asked = "sum by (x) (rate(a_total[5m])) / -max_over_time((reactor_redy > 1)[5m:1m])"
    buckets = "histogram_quantile(0.5, rate(reactor_item_duration_seconds_bucket[5m]))"
    assert promql.name_problems([("A", asked), ("B", buckets)], scrape) == ["A: no metric is called reactor_redy"]
    [problem] = promql.name_problems([("C", "sum(")], scrape)
    assert problem.startswith("C: ")


@pytest.mark.tool("promtool")
def test_a_metric_with_a_bad_name_is_found() -> None:
    assert promql.scrape_problems("# HELP a_ms Time.\n# TYPE a_ms counter\na_ms 1\n")


def test_every_alert_says_what_it_means_and_where_to_read_on() -> None:
    for rule in promql.rules():
        if "alert" not in rule:
            continue
        assert rule["annotations"]["runbook"] == "docs/operations.md#alerts"
        assert rule["annotations"]["summary"]
        assert rule["labels"]["severity"] in {"critical", "warning", "info"}


@pytest.mark.skipif(not OPERATIONS.exists(), reason="docs/operations.md is not there")
@pytest.mark.parametrize("alert", ALERTS)
def test_every_alert_has_a_line_in_the_run_book(alert: str) -> None:
    [_, alerts] = OPERATIONS.read_text().split("\n## Alerts\n")
    assert f"| {alert} |" in alerts


def test_the_dashboard_can_be_imported_anywhere() -> None:
    """A stable uid, no id of somebody's Grafana, the data source as a variable, no panel without a query."""
    dashboard = json.loads(promql.DASHBOARD.read_text())
    assert dashboard["uid"]
    assert "id" not in dashboard
    variables = {variable["name"] for variable in dashboard["templating"]["list"]}
    assert variables == {"datasource", "namespace"}
    rows = [panel["title"] for panel in dashboard["panels"] if panel["type"] == "row"]
    assert rows == ["Freshness", "Throughput", "Google", "Gate", "Database", "Replicas"]
    for panel in dashboard["panels"]:
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
            assert all('namespace=~"$namespace"' in target["expr"] for target in panel["targets"])


def test_a_missing_program_is_told_and_is_an_error_where_ci_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from checks import __main__ as program  # noqa: PLC0415  (it is a program)

    def missing() -> list[str]:
        raise tools.MissingToolError("promtool is not here: unpack it.")

    def checks(_: Path) -> list[tuple[str, Any]]:
        return [("alert rules", missing), ("style", list)]

    monkeypatch.setattr(program, "_checks", checks)
    monkeypatch.delenv("CI", raising=False)
    assert program.main() == 0
    assert "alert rules: not done. promtool is not here: unpack it." in capsys.readouterr().out
    monkeypatch.setenv("CI", "true")
    assert program.main() == 1
