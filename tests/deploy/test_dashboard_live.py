"""The dashboard and the alerts on a real Prometheus that scrapes a working reactor, all on loopback."""

import json
import socket
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import yaml

from checks import promql, tools
from tests.support.process_world import World
from tests.support.waiting import until

Result = list[dict[str, Any]]


class Prometheus:
    """A running Prometheus."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def get(self, path: str, **params: str) -> Any:
        answer = (await self._client.get(f"/api/v1/{path}", params=params)).json()
        assert answer["status"] == "success", answer
        return answer["data"]

    async def query(self, query: str) -> Result:
        result: Result = (await self.get("query", query=query))["result"]
        return result


@pytest.fixture
async def prometheus(world: World, tmp_path: Path) -> AsyncIterator[Prometheus]:
    """One that scrapes a reactor twice a second, with the labels that a cluster gives."""
    try:
        program = tools.find("prometheus")
    except tools.MissingToolError as error:
        pytest.skip(str(error))
    world.connect()
    process = await world.start(CALENDAR_SYNC_POLL_INTERVAL_MS="500").ready()
    target = {"targets": [process.url.removeprefix("http://")], "labels": {"namespace": "n", "pod": "a"}}
    config = {
        "global": {"scrape_interval": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(promql.lift(promql.RULES, tmp_path))],
        "scrape_configs": [{"job_name": "reactor", "static_configs": [target]}],
    }
    file = tmp_path / "prometheus.yaml"
    file.write_text(yaml.safe_dump(config))
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    log = tmp_path / "prometheus.log"
    options = [f"--config.file={file}", f"--storage.tsdb.path={tmp_path / 'tsdb'}", f"--web.listen-address={address}"]
    with log.open("wb") as out:
        server = subprocess.Popen([program, *options], stdout=out, stderr=out)  # noqa: ASYNC220  (it is quick)
    try:
        async with httpx.AsyncClient(base_url=f"http://{address}", timeout=30) as client:
            await until(lambda: "Server is ready" in log.read_text() or server.poll() is not None)
            assert server.poll() is None, log.read_text()
            yield Prometheus(client)
    finally:
        server.terminate()
        server.wait()


async def test_every_panel_shows_something(world: World, prometheus: Prometheus) -> None:
    """While items flow, each query of the dashboard comes to a number sooner or later; a misspelt one never does."""
    asked = dict.fromkeys(query for _, query in promql.panels())
    assert len(asked) > 10
    without = list(asked)
    with trio.move_on_after(120):
        number = 0
        while without:
            world.insert(number)
            number += 1
            await trio.sleep(0.2)  # a rate needs two scrapes with something in between
            without = [query for query in without if not _numbers(await prometheus.query(query))]
    assert without == []


async def test_prometheus_evaluates_every_rule(prometheus: Prometheus) -> None:
    rules: list[dict[str, Any]] = []
    with trio.move_on_after(30):
        while not rules or any(rule["health"] == "unknown" for rule in rules):
            await trio.sleep(0.1)
            groups = (await prometheus.get("rules"))["groups"]
            rules = [rule for group in groups for rule in group["rules"]]
    assert {rule["name"] for rule in rules} == {name for name, _ in promql.queries()[0]}
    assert {rule["health"] for rule in rules} == {"ok"}
    assert not [rule["name"] for rule in rules if rule.get("state") == "firing"], "a reactor that works is no alarm"


def _numbers(result: Result) -> Result:
    return [series for series in result if json.dumps(series["value"][1]) != '"NaN"']
