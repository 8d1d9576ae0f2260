"""`python -m reactor emulator` as its user meets it."""

import os
import signal
import subprocess
import sys

import httpx
import pytest

from calendar_emulator.command import parse_bind
from reactor.errors import ConfigurationError

COMMAND = (sys.executable, "-u", "-m", "reactor", "emulator")
LINES = 8


@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGTERM])
def test_it_announces_what_a_client_needs_and_stops_cleanly(stop: signal.Signals) -> None:
    with subprocess.Popen([*COMMAND, "--bind", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as process:
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
            os.kill(process.pid, stop)
            assert process.wait(timeout=30) == 0
    assert answer.json()["items"] == []
    assert summary["requests"] == {"token": {"200": 1}, "list": {"200": 1}}


def test_a_port_in_use_is_explained() -> None:
    with subprocess.Popen([*COMMAND, "--bind", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        root = process.stdout.readline().strip().removeprefix("GOOGLE_API_ROOT=http://").rstrip("/")
        second = subprocess.run([*COMMAND, "--bind", root], capture_output=True, text=True, check=False)
        process.terminate()
    assert second.returncode == 2
    assert second.stderr.startswith("Cannot listen on 127.0.0.1")


@pytest.mark.parametrize(
    "bind", ["0.0.0.0:80", "[::]:80", "192.0.2.1:80", "example.com:80", "127.0.0.1", "::1:x", ":1"]
)
def test_addresses_that_others_reach_or_that_are_none_are_refused(bind: str) -> None:
    with pytest.raises(ConfigurationError):
        parse_bind(bind, allow_remote=False)


def test_a_remote_address_must_be_asked_for() -> None:
    assert parse_bind("0.0.0.0:80", allow_remote=True) == ("0.0.0.0", 80)
    assert parse_bind("[::1]:8085", allow_remote=False) == ("::1", 8_085)
    assert parse_bind("localhost:0", allow_remote=False) == ("localhost", 0)
