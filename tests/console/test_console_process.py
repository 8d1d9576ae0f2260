"""`python -m reactor console` as an operator starts and ends it."""

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.console.conftest import running
from tests.console.test_console_settings import PROXY
from tests.support.commands import call, inherited
from tests.support.databases import Database


def test_it_serves_and_a_signal_ends_it_in_order(database: Database, tmp_path: Path) -> None:
    """It waits for no one who keeps a connection open."""
    named = {"CONSOLE_NAME": "staging", "LOG_LEVEL": "debug"}
    with (
        running(tmp_path, DATABASE_URL=database.reactor, **named) as console,
        httpx.Client(base_url=console.url, follow_redirects=True) as browser,
    ):
        page = browser.get(console.links[-1])
        assert (page.status_code, page.history[0].status_code) == (200, 303)
        assert "<title>staging: Now" in page.text
        assert browser.get("/", headers={"accept": "application/json"}).json()["items"]["open"] == 0
        assert httpx.get(f"{console.url}/livez").text == "alive\n"
        assert console.stop(signal.SIGINT) == 0
        assert '"console_stopped"' in console.log
        assert "Traceback" not in console.log
        assert not [link for link in console.links if link.partition("key=")[2] in console.log]


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"CONSOLE_BIND": "*:8400"}, "CONSOLE_BIND must be on the loopback"),
        ({"CONSOLE_COLOUR": "pink"}, "CONSOLE_COLOUR must be one of"),
        ({"CONSOLE_USER_HEADER": "X-User"}, "CONSOLE_TRUSTED_PROXIES must be set"),
        ({"DATABASE_URL": ""}, "DATABASE_URL is not set"),
    ],
)
def test_a_wrong_setting_is_a_sentence(environment: dict[str, str], sentence: str) -> None:
    result = call("postgresql://db.internal/app", "console", **environment)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_a_name_that_is_almost_a_settings_is_warned_of() -> None:
    result = call(None, "console", CONSOLE_OPERATOR="sre", CONSOLE_SERVICE_HOST="10.0.0.1", CONSOLE_NAME="x")
    assert "Warning: CONSOLE_OPERATOR is no setting" in result.stderr
    assert "did you mean CONSOLE_OPERATORS?" in result.stderr
    assert "SERVICE_HOST" not in result.stderr
    assert "DATABASE_URL is not set" in result.stderr


def test_a_port_that_is_taken_is_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = {"DATABASE_URL": "postgresql://db.internal/app"}
        ended = start("", **settings, CONSOLE_BIND=f"127.0.0.1:{taken.getsockname()[1]}")
    assert ended.returncode == 2
    assert "CONSOLE_BIND: cannot listen on" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_without_the_extra_it_says_what_to_install() -> None:
    ended = start("sys.modules['starlette'] = None")
    assert ended.returncode == 2
    assert (
        "The console needs starlette: install it with `pip install 'calendar-sync-reactor[console]'`." in ended.stderr
    )
    assert "Traceback" not in ended.stderr


def start(before: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command after a statement, to its end."""
    program = f"import sys; {before}\nsys.argv = ['reactor', 'console']\nfrom reactor.__main__ import main; main()"
    command = [sys.executable, "-c", program]
    return subprocess.run(command, env=inherited(**environment), capture_output=True, text=True, check=False)


def test_behind_a_proxy_it_prints_the_address_and_no_key(tmp_path: Path) -> None:
    with running(tmp_path, DATABASE_URL="postgresql://db.internal/app", **PROXY) as console:
        assert console.links == ["https://console.example.com"]
