"""Payloads of megabytes wait beside innocent items: the process stays below what its Deployment gives it."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest
import yaml

from tests.support.many_rows import insert_edits
from tests.support.process_world import Process, World
from tests.support.waiting import until

SIZE = 5_000_000  # bytes
INNOCENTS = 20
DEPLOYMENT = Path(__file__).parents[2] / "k8s" / "base" / "deployment.yaml"


def limit() -> int:
    """The container's memory limit in MiB."""
    pod = yaml.safe_load(DEPLOYMENT.read_text())["spec"]["template"]["spec"]
    return int(pod["containers"][0]["resources"]["limits"]["memory"].removesuffix("Mi"))


def peak(process: Process) -> int:
    """The most memory that was resident so far, in MiB."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) // 1024


@pytest.mark.parametrize("rows", [50, pytest.param(1_000, marks=pytest.mark.soak)])
async def test_memory_is_bounded_whatever_payloads_wait(world: World, rows: int) -> None:
    """Half of them are small where they are stored, half are not."""
    busy, innocent = world.connect(), world.connect(uuid4())
    for scattered in (False, True):
        for _ in range(rows // 50):
            insert_edits(world._owner, busy, 25, size=SIZE, scattered=scattered, calendar=world.google.user)
    for number in range(INNOCENTS):
        world.insert(number, workspace=innocent)
    process = await world.start().ready()
    done = {("COMPLETED", None): INNOCENTS}
    await until(lambda: statuses_of(world, innocent) == done or process.popen.poll() is not None)
    assert statuses_of(world, innocent) == done, process.output
    await until(lambda: statuses_of(world, busy) == {("DEAD_LETTER", "BAD_PAYLOAD"): rows}, 120)
    found = peak(process)
    print(f"{rows} payloads of 5 MB: at most {found} MiB were resident")  # noqa: T201  (for `-s`)
    assert found < limit()
    assert world.attempts() <= rows


def statuses_of(world: World, workspace: UUID) -> dict[tuple[str, str | None], int]:
    rows = world.execute(
        "select status, failure_code, count(*) from sync_outbox where workspace_id = %s group by 1, 2", workspace
    )
    return {(status, code): count for status, code, count in rows}
