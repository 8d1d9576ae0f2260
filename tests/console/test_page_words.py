"""The texts of an item are shown to visitors who may read them, after a reason; each look is an act."""

import re
import shlex
from html import unescape

import pytest
import trio

from reactor.desk.rights import LoginRights
from tests.console.site import DatabaseSite
from tests.support.commands import call
from tests.support.databases import Database
from tests.support.dialogues import upsert_json
from tests.support.outbox_world import World as Rows, workspace

TEXT = "Review with <b>Ada</b>"


async def test_the_texts_of_an_item_are_shown_after_a_reason(rows: Rows, site: DatabaseSite) -> None:
    item = rows.insert("a", payload={**upsert_json(TEXT), "workspaceId": str(workspace())})
    address = f"/i/{item}/words"
    assert address in await site.get(f"/i/{item}")
    assert "Ada" not in await site.get(address)
    assert "needs a reason" in await site.post(address, {"reason": " "}, 422)
    assert (await site.document("/acts"))["acts"] == []
    page = await site.post(address, {"reason": "INC-1"}, 200)
    assert "Review with &lt;b&gt;Ada&lt;/b&gt;" in page
    [act] = (await site.document("/acts"))["acts"]
    assert (act["who"], act["how"], act["act"], act["reason"]) == ("ada", "console", "words", "INC-1")
    assert act["target"] == {"item": str(item)}


async def test_the_command_of_the_page_does_the_same(database: Database, rows: Rows, site: DatabaseSite) -> None:
    item = rows.insert("a", payload={**upsert_json(TEXT), "workspaceId": str(workspace())})
    page = unescape(await site.post(f"/i/{item}/words", {"reason": "it's $(id)"}, 200))
    [command] = re.findall("<code>(python -m reactor .*?)</code>", page)
    shown = await trio.to_thread.run_sync(lambda: call(database.reactor, *shlex.split(command)[3:]))
    assert TEXT in shown.stdout, shown.output
    looks = (await site.document("/acts"))["acts"]
    assert [(each["how"], each["act"], each["reason"]) for each in looks] == [
        ("command", "words", "it's $(id)"),
        ("console", "words", "it's $(id)"),
    ]


async def test_an_item_that_is_not_there_has_no_texts(site: DatabaseSite) -> None:
    address = f"/i/{workspace('no item')}/words"
    assert "There is no item" in await site.post(address, {"reason": "INC-1"}, 422)


async def test_a_visitor_who_may_not_read_texts_gets_none(
    rows: Rows, site: DatabaseSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    item = rows.insert("a", payload={**upsert_json(TEXT), "workspaceId": str(workspace())})
    monkeypatch.setattr("reactor.console.visitors.login.LoginLimit._rights", _viewer)
    assert "/words" not in await site.get(f"/i/{item}")
    assert "CONSOLE_WORDS" in await site.get(f"/i/{item}/words")
    await site.post(f"/i/{item}/words", {"reason": "INC-1"}, 403)


async def _viewer(self: object) -> LoginRights:
    del self
    return LoginRights(viewer=True, operator=True, words=False)
