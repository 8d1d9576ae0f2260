"""Keys are changed, and rows moved, while everything goes on."""

import json
import subprocess
import sys
from uuid import UUID

import trio

from tests.support.process_world import KEYS, Process, World
from tests.support.waiting import until

NEW_KEY = "k2:" + "B" * 42 + "A="
BOTH = f"{NEW_KEY},{KEYS}"
WORKSPACES = [UUID(int=number) for number in range(1, 9)]


async def command(world: World, *arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command as an operator does, beside the processes."""
    return await trio.run_process(
        [sys.executable, "-W", "error", "-m", "reactor", *arguments],
        env=world.environment(**environment),
        capture_stdout=True,
        capture_stderr=True,
        check=False,
    )


async def settled_otherwise(process: Process) -> list[str]:
    """What ended in any way but well, as the process counts it."""
    lines = (await process.get("/metrics")).text.splitlines()
    names = ('reactor_items_settled_total{status="FAILED"}', 'reactor_items_settled_total{status="DEAD_LETTER"}')
    undecipherable = "reactor_tokens_undecipherable_total"
    return [line for line in lines if line.startswith((*names, undecipherable)) and not line.endswith(" 0.0")]


async def test_rotating_keys_under_load_fails_no_item(world: World) -> None:
    google = world.google.emulator
    google.settings.latency = 0.01
    for workspace in WORKSPACES:
        world.connect(workspace, google.oauth.grant(world.google.user))
    replicas = [await world.start(TOKEN_ENCRYPTION_KEYS=BOTH).ready() for _ in range(2)]
    inserted, rotated = 0, trio.Event()

    async def write() -> None:
        nonlocal inserted
        while not rotated.is_set() or inserted < 100:
            for workspace in WORKSPACES:
                inserted += 1
                world.insert(inserted, workspace=workspace)
            await trio.sleep(0.02)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(write)
        await until(lambda: world.statuses().get("COMPLETED", 0) > 20)
        result = await command(world, "tokens", "rotate", "--json", TOKEN_ENCRYPTION_KEYS=BOTH)
        done = world.statuses().get("COMPLETED", 0)
        await until(lambda: world.statuses().get("COMPLETED", 0) > done + 20)  # with what is stored now
        rotated.set()
    assert (result.returncode, json.loads(result.stdout)["rotated"]) == (0, len(WORKSPACES)), result.stderr
    await world.all_done(inserted, 60)
    assert world.attempts() == 0
    assert [await settled_otherwise(replica) for replica in replicas] == [[], []]
    assert set(world.titles().values()) == {1}
    stored = world.execute("select left(refresh_token_encrypted, 6), is_valid from google_connections")
    assert stored == [("v1:k2:", True)] * len(WORKSPACES)
    assert google.log.count("token", 200) <= 2 * len(WORKSPACES), "the same consents: no token is fetched again"

    alone = await world.start(TOKEN_ENCRYPTION_KEYS=NEW_KEY).ready()
    for replica in replicas:
        replica.popen.kill()
    world.insert(inserted + 1, workspace=WORKSPACES[0])
    await world.all_done(inserted + 1)
    assert await settled_otherwise(alone) == []


async def test_a_token_of_another_workspaces_row_is_refused(world: World) -> None:
    """Whoever can write the table must not be able to write into somebody else's calendar."""
    owner, thief = WORKSPACES[:2]
    for workspace in (owner, thief):
        world.connect(workspace)
    world.execute(
        "update google_connections as t set refresh_token_encrypted = o.refresh_token_encrypted"
        " from google_connections as o where o.workspace_id = %s and t.workspace_id = %s",
        owner,
        thief,
    )
    process = await world.start().ready()
    stolen = world.insert(1, "stolen", thief)
    world.insert(2, "waits", thief)
    world.insert(3, "the owner's", owner)
    await until(lambda: world.statuses() == {"COMPLETED": 1, "DEAD_LETTER": 1, "PENDING": 1})
    assert world.titles() == {"the owner's": 1}
    dead = "select failure_code, last_error from sync_outbox where status = 'DEAD_LETTER'"
    assert world.execute(dead) == [("AUTH", "the stored token is damaged or of another workspace")]
    valid = dict(world.execute("select workspace_id, is_valid from google_connections"))
    assert valid == {owner: True, thief: False}
    result = await command(world, "check", "--json")
    tokens = [finding for finding in json.loads(result.stdout) if finding["check"] == "tokens"]
    assert [finding["verdict"] for finding in tokens] == ["warn"]
    assert "encrypted for another workspace" in tokens[0]["says"]

    world.connect(thief)  # a consent of its own
    await world.all_done(3)
    assert world.execute("select status from sync_outbox where id = %s", stolen) == [("COMPLETED",)]
    assert process.popen.poll() is None
