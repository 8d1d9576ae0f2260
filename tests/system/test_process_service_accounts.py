"""A service account from end to end: the real commands, the real process, the emulator, and what happens to its key."""

import json
from typing import Any

import trio

from calendar_emulator import EVENTS_SCOPE
from tests.support import key_files
from tests.support.commands import call_beside
from tests.support.google_fixtures import USER
from tests.support.key_files import ROBOT
from tests.support.process_world import KEYS, WORKSPACE, World
from tests.support.waiting import until
from tests.system.test_process_tokens import BOTH, NEW_KEY


async def test_a_service_account_from_its_key_file_to_the_event(world: World, tmp_path: Any) -> None:
    """Shared, then by delegation; its key is replaced, the keys are rotated. No part of it is seen anywhere."""
    emulator, path, said, secrets = world.google.emulator, tmp_path / "key.json", list[str](), set[str]()

    async def make_key() -> None:
        document = await trio.to_thread.run_sync(lambda: emulator.add_service_account(ROBOT, delegated=[EVENTS_SCOPE]))
        secrets.update(key_files.secrets_of(document))
        path.write_text(json.dumps(document, indent=2))

    async def run(*arguments: str, **environment: str) -> Any:
        result = await call_beside(world.google, world.database.reactor, *arguments, **environment)
        said.append(result.output)
        assert result.exit_code == 0, said[-1]
        return json.loads(result.stdout)

    def add(*more: str) -> tuple[str, ...]:
        named = ("--workspace", str(WORKSPACE), "--service-account", str(path), "--calendar", USER, "--json")
        return ("connections", "add", *named, *more)

    await make_key()
    emulator.share(USER, ROBOT, "writer")
    assert (await run(*add()))["new"] is True
    process = await world.start(TOKEN_ENCRYPTION_KEYS=BOTH, LOG_LEVEL="debug").ready()
    for number in range(1, 21):
        world.insert(number)
    await world.all_done(20)
    assert emulator.log.count("token", 200) == 2, "one for the trial, one for all of it"
    assert {entry.user for entry in emulator.log.entries if entry.operation in ("insert", "batch")} <= {ROBOT, ""}

    # Another key in the settings is the same account: no token is fetched anew.
    assert (await run("tokens", "rotate", "--json", TOKEN_ENCRYPTION_KEYS=BOTH))["rotated"] == 1
    world.insert(21)
    await world.all_done(21)
    assert emulator.log.count("token", 200) == 2

    # Its own calendar is one that no person sees: nothing is written there, and a person is told.
    world.insert(23, extra={"calendarId": "primary"})
    await until(lambda: world.statuses() == {"COMPLETED": 21, "DEAD_LETTER": 1})
    [[hidden, code]] = world.execute("select id, failure_code from sync_outbox where status = 'DEAD_LETTER'")
    assert code == "CALENDAR_GONE"
    assert emulator.events(ROBOT) == []

    # The key is replaced in Google's console: the workspace is parked, and goes on with the new one.
    await make_key()
    emulator.oauth.expire_access_tokens()
    world.insert(22)
    await until(lambda: world.statuses() == {"COMPLETED": 21, "DEAD_LETTER": 2})
    [[error]] = world.execute("select last_error from sync_outbox where failure_code = 'AUTH'")
    assert error == (
        "the service account's key was deleted, disabled or replaced; connect with a new one (400 invalid_grant)"
    )
    assert (await run(*add("--subject", USER), TOKEN_ENCRYPTION_KEYS=BOTH))["requeued"] == 1
    await until(lambda: world.statuses() == {"COMPLETED": 22, "DEAD_LETTER": 1})
    assert (await run("dead-letters", "requeue", "--id", str(hidden), "--json"))["requeued"] == 1
    await world.all_done(23)
    assert world.titles() == {f"event {number}": 1 for number in range(1, 24)}

    [found] = await run("connections", "list", "--json", TOKEN_ENCRYPTION_KEYS=NEW_KEY)
    assert (found["kind"], found["account"], found["subject"], found["key"]) == ("service account", ROBOT, USER, "k2")
    said += [process.output, (await process.get("/metrics")).text]
    assert KEYS not in process.output
    assert [secret for secret in secrets if any(secret in text for text in said)] == []
