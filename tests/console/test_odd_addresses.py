"""What no page of ours would ask: every page with odd values in its address, and every act with odd fields."""

from collections.abc import AsyncIterator, Iterator, MutableMapping
from typing import Any
from urllib.parse import quote, quote_from_bytes

import pytest
import trio
from structlog.testing import capture_logs

from reactor.console.app import PAGES
from tests.console.examples import EXAMPLES
from tests.console.open_site import OpenSite, open_site
from tests.support.databases import Database
from tests.support.outbox_world import World, workspace

ODD = (
    *(
        "",
        " ",
        "\x00",
        "a\x00b",
        "\r\nx: y",
        "'\"<",
        "\u202e\ud7ff\U0001f4a5",
        "%",
        "%s",
        "{}",
        "-1",
        "0",
        "1e309",
        "nan",
    ),
    *(
        "9" * 400,
        "x" * 1_000,
        "infinity~x",
        "True~x",
        "2026-13-45T00:00",
        "0001-01-01T00:00:00+14:00",
        "../..",
        "//x",
        "\\",
    ),
)
FIELDS = (
    "workspace",
    "code",
    "age",
    "error",
    "after",
    "before",
    "state",
    "hours",
    "q",
    "recreate",
    "key",
    "state~code",
)
SENT = (
    "reason",
    "seen",
    "typed",
    "act",
    "rate",
    "calendar",
    "revoke",
    "workspace",
    "payload",
    "recreate",
    "code",
    "error",
)
SENTENCES = {200, 303, 400, 404, 422}


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as lines:
        yield lines


@pytest.fixture
async def site(database: Database, nursery: trio.Nursery) -> AsyncIterator[OpenSite]:
    world = World(database)
    world.connect()
    world.insert("a", status="DEAD_LETTER", failure_code="EXHAUSTED", last_error="x")
    world.close()
    async with open_site(nursery, database.reactor) as site:
        nursery.start_soon(site.console.requeues.work)
        yield site


def paths() -> Iterator[str]:
    """Each page's path with an odd value for what its pattern names."""
    for page in PAGES:
        whole = page.path.replace("{workspace:uuid}", str(workspace()))
        named = whole.partition("{")[0]
        for odd in ODD if named != whole else ():
            yield named + quote(odd, safe="") + whole.partition("}")[2]
        if named != whole:
            yield named + quote_from_bytes(b"\xff\xfe")


async def test_no_address_is_an_error_of_ours(site: OpenSite, lines: list[MutableMapping[str, Any]]) -> None:
    asked = [*paths()]
    for number, address in enumerate(each[0].partition("?")[0] for each in EXAMPLES.values()):
        for turn in range(number % 5, len(ODD), 5):  # each page meets a fifth of them, and each field all of them
            fields = [f"{name}={quote(ODD[(turn + place) % len(ODD)], safe='')}" for place, name in enumerate(FIELDS)]
            asked.append(f"{address}?{'&'.join(fields)}")
    assert len(asked) > 200
    for address in asked:
        answer = await site.client.get(address)
        assert answer.status_code in SENTENCES, (address, answer.text)
        assert "\r" not in answer.headers.get("location", "")
    assert [line for line in lines if line["event"] == "console_page_failed"] == []


async def test_no_form_is_an_error_of_ours(site: OpenSite, lines: list[MutableMapping[str, Any]]) -> None:
    for page in PAGES:
        if page.act is None or page.path == "/check":  # which takes no field, and seconds
            continue
        address = EXAMPLES[page.path][0].partition("?")[0]
        for turn in range(0, len(ODD), 2):
            form = {name: ODD[(turn + place) % len(ODD)] for place, name in enumerate(SENT)}
            answer = await site.post(address, **form)
            assert answer.status_code in SENTENCES, (address, form, answer.text)
    assert [line for line in lines if line["event"] == "console_page_failed"] == []
