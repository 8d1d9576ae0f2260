"""Fixtures shared by the whole suite.

The suite runs on an embedded PostgreSQL 18, started once; with TEST_DATABASE_URL it runs on that server instead, as
a superuser.
"""

import logging
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from hypothesis import HealthCheck, settings
from psycopg import sql

from reactor.postgres.setup.embedded import embedded_postgres
from reactor.postgres.setup.migrations import migrate
from tests.support.databases import Database, Server, deploy, in_memory

# Machines are shared: no deadline per example, and a slow first example is not a failure. The suite is run often, so it
# draws few examples each time, others every time; `make soak` draws many.
settings.register_profile("suite", max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", settings.get_profile("suite"), max_examples=1_000)
settings.load_profile("suite")

# A shell without job control starts what it puts into the background deaf to Ctrl-C, and so are the processes that
# tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)

# For each client httpx reads the certificates of all authorities, 17 ms of a processor. The tests' own clients share
# them; the reactor brings its own (`reactor.google.network.tls`).
_transport: Any = httpx._transports.default
_transport.create_ssl_context = cache(_transport.create_ssl_context)

# A world's own assertions should say what they found.
pytest.register_assert_rewrite(
    "tests.support.history_world", "tests.support.poisoned_world", "tests.support.travel_verdict"
)
pytest_plugins = ["tests.support.google_fixtures", "tests.support.process_world", "tests.support.collector"]


# The files that take longest, longest first. `make test` hands files out in this order: one of these that began last
# would run by itself.
LONGEST = (
    "console/test_pages_in_browser.py",
    "postgres/test_outbox_stubborn_rows.py",
    "demo/test_demo_command.py",
    "deploy/test_container.py",
    "postgres/test_schema_adoption.py",
    "deploy/test_checks.py",
    "postgres/test_session_settings.py",
    "system/test_stories.py",
    "system/test_process_outages.py",
    "system/test_rebuild.py",
    "system/test_kubelet.py",
    "postgres/test_wakeups.py",
    "postgres/test_outbox_rows.py",
    "postgres/test_schema_check.py",
    "postgres/test_outbox_sweep.py",
    "commands/test_commands_connect.py",
)


def _place(path: Path, tests: int) -> tuple[int, int]:
    """The longest files, then those with few tests: they start processes, and many tests in a file are mostly short."""
    file = f"{path.parent.name}/{path.name}"
    return (LONGEST.index(file), 0) if file in LONGEST else (len(LONGEST), tests)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first, so that none is left at the end.

    What is drawn by lot covers no branch: that must not be luck. Tracing it would also take long, and so would tracing
    the simulations that carry this mark themselves.
    """
    tests = Counter(item.path for item in items)
    items.sort(key=lambda item: _place(item.path, tests[item.path]))
    for item in items:
        if getattr(getattr(item, "obj", None), "is_hypothesis_test", False):
            item.add_marker(pytest.mark.no_cover)


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Trace nothing of a test with the mark `no_cover`: in a worker of pytest-xdist, pytest-cov goes on tracing."""
    tracer = sys.gettrace()
    if item.get_closest_marker("no_cover"):
        sys.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(tracer)


@pytest.fixture(autouse=True)
def logs_of_its_own() -> Iterator[None]:
    """What a test, or a command that it calls, sets up for the logs of its process ends with it.

    A logger keeps what it was set up with at its first use; in tests it must not, or it would write for one test what
    another had asked for. The fixture `monkeypatch` is not for this: as the first one of each test it would be undone
    last, and a test's environment would stay until its databases are dropped.
    """
    configure, root = structlog.configure, logging.getLogger()
    handlers, level, ours = root.handlers[:], root.level, logging.getLogger("reactor").level
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(structlog, "configure", lambda **given: configure(**given | {"cache_logger_on_first_use": False}))
        yield
    structlog.reset_defaults()
    root.handlers[:], root.level = handlers, level
    logging.getLogger("reactor").setLevel(ours)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """The server for the whole run."""
    given = os.environ.get("TEST_DATABASE_URL")
    if given:
        yield Server(given, shutil.which("psql"))
        return
    with embedded_postgres(below=in_memory()) as server:
        yield Server(server.url(), str(server.bin_path / "psql"))


@pytest.fixture
def empty_database(postgres: Server) -> Iterator[str]:
    """An empty database's connection string, as its owner."""
    name = postgres.create_database()
    yield postgres.dsn(name)
    postgres.drop_database(name)


@pytest.fixture
def own_backends() -> None:
    """The server's processes are ours to freeze."""
    if "TEST_DATABASE_URL" in os.environ:
        pytest.skip("the server's processes belong to somebody else")


@pytest.fixture(scope="session")
def migrated_template(postgres: Server) -> Iterator[str]:
    """Name of a migrated database, made once, from which others are copied in some 50 ms."""
    name = postgres.create_database()
    migrate(postgres.dsn(name), progress=lambda _: None)
    yield name
    postgres.drop_database(name)


@pytest.fixture
def deployed_database(empty_database: str) -> str:
    """A database as a deployment has it, with 2,000 items and nothing of ours."""
    return deploy(empty_database, items=2_000)


@pytest.fixture(scope="session")
def reactor_login(postgres: Server, migrated_template: str) -> Iterator[dict[str, str]]:
    """User and password of a login in the reactor's role."""
    assert migrated_template, "its migration makes the role"
    login = {"user": f"reactor_login_{os.getpid()}", "password": "only-for-tests"}
    with postgres.session() as session:
        session.execute(
            sql.SQL("create role {} login password {} in role calendar_sync_reactor").format(
                sql.Identifier(login["user"]), login["password"]
            )
        )
    yield login
    with postgres.session() as session:
        session.execute(sql.SQL("drop role {}").format(sql.Identifier(login["user"])))


@pytest.fixture
def database(postgres: Server, migrated_template: str, reactor_login: dict[str, str]) -> Iterator[Database]:
    """A fresh migrated database."""
    name = postgres.create_database(migrated_template)
    yield Database(owner=postgres.dsn(name), reactor=postgres.dsn(name, **reactor_login))
    postgres.drop_database(name)
