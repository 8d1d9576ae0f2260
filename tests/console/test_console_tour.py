"""The tour of docs/console.md: each fault is mended by what is visible, from the first page on; then calendars agree.

What `tools.console_tour` presses is what the pages show today; a link or a button that is renamed fails here.
"""

from pathlib import Path

import pytest

from reactor.demo.database import demo_database
from reactor.postgres.setup.embedded import embedded_postgres
from tests.support.databases import Server
from tools.console_tour import BEGIN, DOCUMENT, STOPS, tour

STOP = {stop.name: stop for stop in STOPS}


@pytest.mark.usefixtures("chromium")
def test_a_consent_is_mended_from_the_first_page_on(postgres: Server, tmp_path: Path) -> None:
    with demo_database(postgres.admin_dsn) as made:
        [steps] = tour(made.owner, tmp_path, [STOP["consent"]], server=None, pictures=None)
    assert len(steps.pressed) <= 6
    assert steps.typed == 1


@pytest.mark.usefixtures("chromium")
@pytest.mark.soak
def test_each_fault_is_mended_from_the_first_page_on(tmp_path: Path) -> None:
    with embedded_postgres() as server, demo_database(server.url()) as made:
        taken = tour(made.owner, tmp_path, STOPS, server=server, pictures=None)
    assert [len(steps.pressed) <= 6 for steps in taken] == [True] * len(STOPS)


def test_the_document_has_the_whole_tour() -> None:
    table = DOCUMENT.read_text().partition(BEGIN)[2]
    assert all(f"\n| {stop.title} | " in table for stop in STOPS)
