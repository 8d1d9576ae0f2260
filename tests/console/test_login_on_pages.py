"""What the database's login may do is the ceiling for all visitors: a viewer's sees no word and changes nothing."""

from collections.abc import Iterator, MutableMapping
from functools import reduce
from typing import Any

import pytest
import trio
from structlog.testing import capture_logs

from reactor.console.page import VisitorRight
from reactor.console.visitors.access import Visitor
from reactor.console.visitors.login import LoginLimit
from reactor.desk.rights import LoginRights
from reactor.errors import TransientError
from tests.console.examples import LETTER, SOURCE, WORKSPACE, addresses
from tests.console.site import DatabaseSite
from tests.console.test_requeue_pages import ended, form, result
from tests.postgres.test_console_roles import SECRET, STATE, Logins, is_told, logins
from tests.support.outbox_world import source, workspace
from tests.support.waiting import until

__all__ = ["logins"]

W = workspace()


@pytest.fixture(autouse=True)
def lines() -> Iterator[list[MutableMapping[str, Any]]]:
    with capture_logs() as lines:
        yield lines


def letter(logins: Logins) -> str:
    return str(logins.rows.one("select id from sync_outbox where failure_code = 'EXHAUSTED' order by id limit 1"))


def pages(logins: Logins) -> tuple[str, ...]:
    why = tuple(f"/w/{W}/s/task:{source(about)}" for about in "abc")
    return (f"/find?q={source('none')}", *why, f"/i/{letter(logins)}", "/dead", "/dead/requeue", "/acts")


async def test_a_viewer_sees_the_pages_and_cannot_act(logins: Logins, nursery: trio.Nursery) -> None:
    site = await DatabaseSite(logins.dsn["viewer"]).open(nursery)
    reactor = await DatabaseSite(logins.dsn["reactor"]).open(nursery)
    before = logins.rows.one("select jsonb_agg(to_jsonb(o) order by o.id) from sync_outbox as o")
    for address in pages(logins):
        page = await site.get(address)
        assert SECRET not in page, address
        assert 'class="act"' not in page, address
        assert "may look" in page, address
        assert "may act" in await reactor.get(address), address
    assert await site.leads(f"/find?q=task:{source('a')}") == f"/w/{W}/s/task:{source('a')}"
    item = f"/i/{letter(logins)}"
    (theirs, ours), lengths = [(await each.document(item)) for each in (site, reactor)], ("summary", "description")
    assert [theirs["preview"][each] for each in lengths] == [ours["preview"][each] for each in lengths]
    sent = await form(reactor)
    for address, fields in ((item, {"reason": "x"}), ("/dead/requeue", sent), (pages(logins)[1], {})):
        assert "a login of the database that may" in await site.post(address, fields, 403)
    assert logins.rows.one("select jsonb_agg(to_jsonb(o) order by o.id) from sync_outbox as o") == before


@pytest.mark.parametrize(
    "role", ["viewer", "reactor", *(pytest.param(each, marks=pytest.mark.soak) for each in ("operator", "words"))]
)
async def test_no_page_shows_a_word_or_changes_anything(
    logins: Logins, nursery: trio.Nursery, lines: list[MutableMapping[str, Any]], role: str
) -> None:
    """Every page, as HTML and as JSON, with each login; nothing of it is in the log either."""
    site = await DatabaseSite(logins.dsn[role]).open(nursery)
    ids = {WORKSPACE: str(W), SOURCE: str(source("a")), LETTER: letter(logins), "script": SECRET}
    before, shown = logins.rows.one(STATE), 0
    for _, example in addresses():
        address = reduce(lambda text, each: text.replace(*each), ids.items(), example)
        for accept in ("text/html", "application/json"):
            answer = await site.ask(address, accept)
            assert answer.status_code in (200, 303, 404, 422), address
            shown += answer.status_code == 200
            told = answer.text.replace(SECRET, "", answer.text.count(f'value="{SECRET}"'))  # what was typed comes back
            assert not is_told(told if "/find" in address else answer.text), address
    assert shown > 30
    assert not is_told(lines)
    assert logins.rows.one(STATE) == before


async def test_no_act_of_any_page_is_open_to_a_viewers_login(logins: Logins, nursery: trio.Nursery) -> None:
    site = await DatabaseSite(logins.dsn["viewer"]).open(nursery)
    before = logins.rows.one(STATE)
    acts = {page.path: address for page, address in addresses() if page.act and page.needs is not VisitorRight.NONE}
    assert len(acts) > 8
    for address in acts.values():
        assert "a login of the database that may" in await site.post(address, {"reason": "x"}, 403), address
    assert logins.rows.one(STATE) == before


async def test_a_viewers_login_is_refused_by_the_database_itself(
    logins: Logins, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the console had taken it for an operator's."""

    async def trusts(_: LoginLimit, visitor: Visitor) -> Visitor:
        return visitor

    monkeypatch.setattr(LoginLimit, "under", trusts)
    site = await DatabaseSite(logins.dsn["viewer"]).open(nursery)
    for address, fields in ((f"/i/{letter(logins)}", {"reason": "x"}), ("/dead/requeue", await form(site))):
        assert "The role may not do this" in await site.post(address, fields, 422)
    assert logins.rows.one("select count(*) from sync_acts") == 0


async def test_an_operator_puts_letters_back(logins: Logins, nursery: trio.Nursery) -> None:
    site = await DatabaseSite(logins.dsn["operator"]).open(nursery)
    one = await site.post(f"/i/{letter(logins)}", {"reason": "it is mended"})
    assert result(logins.rows, one)["done"] == 1
    act = await site.post("/dead/requeue", await form(site, "/dead/requeue?code=EXHAUSTED"))
    await until(lambda: ended(logins.rows, act))
    assert (result(logins.rows, act)["state"], result(logins.rows, act)["done"]) == ("done", 2)


async def test_what_a_login_may_is_asked_once_a_minute(autojump_clock: trio.testing.MockClock) -> None:
    answers: list[LoginRights | TransientError] = [
        TransientError("away"),
        LoginRights(viewer=True, operator=False, words=True),
        LoginRights(viewer=True, operator=True, words=False),
    ]

    async def ask() -> LoginRights:
        await trio.lowlevel.checkpoint()
        answer = answers.pop(0)
        if isinstance(answer, TransientError):
            raise answer
        return answer

    ceiling, ada = LoginLimit(ask), Visitor("ada", may_act=True, may_read_words=True)
    assert await ceiling.under(Visitor("bob")) == Visitor("bob"), "who may nothing needs no answer"
    for seconds, seen in (
        (0, ada),
        (3, Visitor("ada", may_read_words=True)),
        (59, Visitor("ada", may_read_words=True)),
        (2, Visitor("ada", may_act=True)),
    ):
        await trio.sleep(seconds)
        async with trio.open_nursery() as several:
            several.start_soon(ceiling.under, ada)
        assert await ceiling.under(ada) == seen, seconds
    assert answers == []
