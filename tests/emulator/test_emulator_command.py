"""`python -m reactor emulator`, and `python -m calendar_emulator`, as their users meet them."""

import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from calendar_emulator.command import AddressError, parse_bind

COMMAND = (sys.executable, "-u", "-m", "reactor", "emulator")
ALONE = (sys.executable, "-u", "-m", "calendar_emulator")
LINES = 8
PAGE = (Path(__file__).resolve().parents[2] / "docs" / "emulator.md").read_text("utf-8")


@pytest.mark.parametrize(("command", "stop"), [(COMMAND, signal.SIGINT), (ALONE, signal.SIGTERM)])
def test_it_announces_what_a_client_needs_and_stops_cleanly(command: tuple[str, ...], stop: signal.Signals) -> None:
    with subprocess.Popen([*command, "--bind", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        said = dict(process.stdout.readline().strip().split("=", 1) for _ in range(LINES))
        form = {
            "grant_type": "refresh_token",
            "refresh_token": said["REFRESH_TOKEN"],
            "client_id": said["GOOGLE_CLIENT_ID"],
            "client_secret": said["GOOGLE_CLIENT_SECRET"],
        }
        with httpx.Client() as client:  # stays connected while the process is asked to stop
            token = client.post(said["GOOGLE_TOKEN_URI"], data=form).json()["access_token"]
            path = f"{said['GOOGLE_API_ROOT']}calendar/v3/calendars/{said['CALENDAR_ID']}/events"
            answer = client.get(path, headers={"Authorization": f"Bearer {token}"})
            summary = client.get(said["CONTROL"]).json()["result"]
            shown = curl(said)
            os.kill(process.pid, stop)
            assert process.wait(timeout=30) == 0
    assert answer.json()["items"] == []
    assert summary["requests"] == {"token": {"200": 1}, "list": {"200": 1}}
    assert shown is None or '"calendar#events"' in shown


def curl(environment: dict[str, str]) -> str | None:
    """What the page's lines for curl print; None where there is no curl."""
    if shutil.which("curl") is None:
        return None
    [lines] = re.findall(r"```sh\n(TOKEN=.*?)```", PAGE, re.DOTALL)
    done = subprocess.run(["sh", "-c", lines], env=os.environ | environment, capture_output=True, text=True, check=True)
    return done.stdout


async def test_the_page_s_example_is_a_test_that_passes(tmp_path: Path) -> None:
    [code] = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    file = tmp_path / "example.py"
    file.write_text(code)
    await runpy.run_path(str(file))["test_an_answer_is_lost"]()


def test_a_port_in_use_is_explained() -> None:
    with subprocess.Popen([*COMMAND, "--bind", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        root = process.stdout.readline().strip().removeprefix("GOOGLE_API_ROOT=http://").rstrip("/")
        others = [
            subprocess.run([*command, "--bind", root], capture_output=True, text=True, check=False)
            for command in (COMMAND, ALONE)
        ]
        process.terminate()
    assert [other.returncode for other in others] == [2, 2]
    assert [other.stderr[:28] for other in others] == ["Cannot listen on 127.0.0.1, "] * 2


@pytest.mark.parametrize(
    "bind", ["0.0.0.0:80", "[::]:80", "192.0.2.1:80", "example.com:80", "127.0.0.1", "::1:x", ":1"]
)
def test_addresses_that_others_reach_or_that_are_none_are_refused(bind: str) -> None:
    with pytest.raises(AddressError):
        parse_bind(bind, allow_remote=False)


def test_a_remote_address_must_be_asked_for() -> None:
    assert parse_bind("0.0.0.0:80", allow_remote=True) == ("0.0.0.0", 80)
    assert parse_bind("[::1]:8085", allow_remote=False) == ("::1", 8_085)
    assert parse_bind("localhost:0", allow_remote=False) == ("localhost", 0)
