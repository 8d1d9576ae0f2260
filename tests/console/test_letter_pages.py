"""From any id to the page of what is meant; why an event is not in its calendar; an item; dead letters and acts.

The pages are asked over HTTP, on rows as the application writes them.
"""

import re
from base64 import urlsafe_b64encode
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import trio
from structlog.testing import capture_logs

from reactor.console.pages import acts as acts_page, dead, why
from reactor.core.calendar.ids import event_id
from reactor.desk import acts
from reactor.desk.acts import ActAuthor, ActKind
from reactor.desk.google_event import GoogleReadSettings
from reactor.desk.letters.dead_letters import CODES
from reactor.postgres.connection.admin import open_admin_session
from tests.commands.test_commands_dead_letters import EVENT, die, floor
from tests.console.site import DatabaseSite
from tests.support.commands import document, settings_of
from tests.support.databases import Database
from tests.support.outbox_world import World as Rows, source, workspace
from tests.support.process_world import KEYS, WORKSPACE
from tests.support.rebuild_world import RebuildWorld, key, world

__all__ = ["world"]

W = str(workspace())
WORDS = ("Fire the whole team", "secret words")


@pytest.fixture(autouse=True)
def _lines() -> Iterator[None]:
    with capture_logs():
        yield


def key_of(about: str) -> str:
    return f"task:{source(about)}"


async def test_any_id_leads_to_its_page(rows: Rows, site: DatabaseSite) -> None:
    item, rebuild = rows.insert("a", payload=EVENT), rows.insert(operation="REBUILD_ALL")
    of_a = f"/w/{W}/s/{key_of('a')}"
    event = event_id(W, key_of("a"), 0)
    link = "https://www.google.com/calendar/event?eid=" + urlsafe_b64encode(f"{event} x@m".encode()).decode().strip("=")
    rows.connection.execute("update google_connections set calendar_id = 'team@example.com'")
    for asked, page in (
        (item, f"/i/{item}"),
        (rebuild, f"/i/{rebuild}"),
        (W, f"/w/{W}"),
        (key_of("a"), of_a),
        (source("a"), of_a),
        (event, of_a),
        (link, of_a),
        ("team@example.com", f"/w/{W}"),
        ("fire the WHOLE", of_a),
    ):
        assert await site.leads(f"/find?q={quote(str(asked))}") == page, asked
    rows.insert("b", payload=EVENT)
    several = await site.get("/find?q=fire")
    assert "It may be one of 2 events" in several
    assert of_a in several
    assert "Fire" not in several, "titles are not shown"
    for number in range(22):
        rows.insert(f"n{number}", payload=EVENT)
    found = await site.document("/find?q=fire")
    assert (len(found["sources"]), found["has_more"]) == (20, True)
    assert "Nothing that is known here matches it." in await site.get(f"/find?q={source('none')}")
    for wrong in ("https://example.com/", "x" * 1_001):
        assert (await site.document(f"/find?q={wrong}"))["problem"]
    assert "not the id" in (await site.document("/find?q=fire&workspace=x"))["problem"]


def stable(found: Any) -> str:
    """Without what a second changes."""
    return re.sub(r"\d+ (s|min)\b", "some time", str(found))


async def test_why_says_what_explain_says_and_not_a_word_of_the_event(
    database: Database, rows: Rows, site: DatabaseSite
) -> None:
    rows.insert("waits", payload=EVENT)
    died = die(rows, "died", last_error="Google is away")
    rows.insert("stopped", of="stopped", payload=EVENT)
    for about, of in (("waits", "w"), ("died", "w"), ("stopped", "stopped"), ("never", "w")):
        said = document(database, "explain", key_of(about), "--workspace", str(workspace(of)), code=1)
        address = f"/w/{workspace(of)}/s/{key_of(about)}"
        assert stable(await site.document(address)) == stable(said)
        page = await site.get(address)
        assert said["verdict"] in page.replace("&#39;", "'")
        assert not [word for word in WORDS if word in page]
    assert f"/i/{died}" in await site.get(f"/w/{W}/s/{key_of('died')}")
    await site.get(f"/w/{workspace('unheard of')}/s/task:x", 422)
    with site.console.database._pool.session() as session:  # the one that the page has used
        assert session.one("show enable_seqscan") == {"enable_seqscan": "on"}


async def test_a_long_history_is_a_page_of_a_bounded_size(rows: Rows, site: DatabaseSite) -> None:
    for status in ("PENDING", "DEAD_LETTER", "COMPLETED"):
        for _ in range(25):
            rows.insert("a", status=status, payload=EVENT, last_error="<&' \u00e9 " * 100, failure_code="x" * 100)
    page = await site.get(f"/w/{W}/s/{key_of('a')}")
    assert len(page.encode()) < 64 * 1024
    with rows.connection.cursor() as cursor:
        cursor.executemany(
            "insert into sync_acts (who, how, act, workspace_id, reason) values (%s, 'command', 'requeue', %s, %s)",
            [("<" * 200, W, "<&'\"> " * 100)] * acts.ROWS,
        )
    assert len((await site.get("/acts")).encode()) < 64 * 1024


async def test_a_view_that_takes_long_is_left_out(
    rows: Rows, site: DatabaseSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(why, "VIEW", 0.1)
    rows.insert("waits", payload=EVENT)
    rows.connection.execute(
        f"create view calendar_source_events as select '{W}'::uuid as workspace_id, 'task' as source_type, "
        f"'{source('waits')}'::uuid as source_id from pg_sleep(20);"
        "grant select on calendar_source_events to calendar_sync_reactor"
    )
    found = await site.document(f"/w/{W}/s/{key_of('waits')}")
    assert found["wanted"] == {"view": "not known: calendar_source_events took longer than 0.1 s"}
    assert found["cause"] == "no_replica"


async def test_google_is_asked_by_a_button_and_with_its_secret_only(
    world: RebuildWorld, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.connect()
    world.write(1, "event 1")
    world.plant(1, "event 1")
    address = f"/w/{WORKSPACE}/s/{key(1)}"
    without = await DatabaseSite(world.database.reactor).open(nursery)
    assert f"explain {key(1)} --workspace {WORKSPACE} --google" in await without.get(address)
    assert "neither" in await without.post(address, {}, 422)
    for name, value in {**settings_of(world.google), "TOKEN_ENCRYPTION_KEYS": KEYS}.items():
        monkeypatch.setenv(name, value)
    site = await DatabaseSite(world.database.reactor, GoogleReadSettings.from_environment()).open(nursery)
    assert "Ask Google" in await site.get(address)
    before = len(world.google.emulator.log.entries)
    page = await site.post(address, {}, 200)
    assert "the event is there" in page
    assert "event 1" not in page
    assert "It was not asked" not in page
    gets = [each for each in list(world.google.emulator.log.entries)[before:] if each.method == "GET"]
    assert len(gets) == 1
    world.execute("delete from google_connections")
    assert "no connection" in await site.post(address, {}, 422)


async def test_an_item_is_shown_without_its_words_and_put_back(rows: Rows, site: DatabaseSite) -> None:
    item = die(rows, "a", last_error="Google is away")
    page = await site.get(f"/i/{item}")
    for said in ("Google is away", "(19 characters)", "5 of 5 failed", "It is sent", "died of EXHAUSTED", "no session"):
        assert said in page
    assert not [word for word in WORDS if word in page]
    held = rows.insert("b", payload=EVENT)
    with rows.connection.transaction():
        rows.connection.execute("select from sync_outbox where id = %s for update", (held,))
        assert (await site.document(f"/i/{held}"))["holder"].endswith(f"(process {rows.connection.info.backend_pid})")
    await site.get(f"/i/{workspace('none')}", 422)
    assert "needs a reason" in await site.post(f"/i/{item}", {}, 422)
    act = await site.post(f"/i/{item}", {"reason": "it is mended"})
    assert rows.status(item) == ("PENDING", 0, None)
    found = await site.document(act)
    assert (found["who"], found["how"], found["act"], found["reason"]) == ("ada", "console", "requeue", "it is mended")
    assert (found["target"]["ids"], found["result"]["state"], found["result"]["done"]) == ([str(item)], "done", 1)
    assert "no dead letter any more" in await site.post(f"/i/{item}", {"reason": "again"}, 422)
    assert len((await site.document("/acts"))["acts"]) == 1


async def test_what_has_become_of_an_item(rows: Rows, site: DatabaseSite) -> None:
    rebuild = rows.insert(operation="REBUILD_ALL")
    cases: list[tuple[str, dict[str, Any], list[str]]] = [
        ("waits", {}, ["inserted", "due"]),
        (
            "failed",
            {"status": "FAILED", "attempts": 2, "updated_at": "2100-01-01"},
            ["inserted", "tried, or put back; 2 of 5 attempts failed", "due"],
        ),
        ("sent", {"status": "COMPLETED", "parent_id": rebuild}, ["inserted", "completed"]),
        ("old", {"status": "COMPLETED", "failure_code": "SUPERSEDED"}, ["inserted", "overtaken by a newer state"]),
        ("gone", {"status": "PROCESSING", "claim_no": 7}, ["inserted", "claimed"]),
        ("died", {"status": "DEAD_LETTER", "attempts": 1}, ["inserted", "died of no code; 1 of 5 attempts failed"]),
    ]
    for about, columns, told in cases:
        item = rows.insert(about, payload=EVENT, **columns)
        found = await site.document(f"/i/{item}")
        assert [each["what"] for each in found["timeline"]] == told
        assert all(each["at"] for each in found["timeline"])
        page = await site.get(f"/i/{item}")
        assert f"/w/{W}/s/{key_of(about)}" in page
        assert ("Put it back" in page) is (about == "died")
        assert (f"/i/{rebuild}" in page.partition("of the rebuild")[2][:80]) is (about == "sent")
        assert found["stands"].endswith(" ago") is (about in ("sent", "old", "died"))
    assert "all of the workspace" in await site.get(f"/i/{rebuild}")


async def test_dead_letters_by_cause(rows: Rows, site: DatabaseSite, monkeypatch: pytest.MonkeyPatch) -> None:
    rows.connect("other")
    for about in "abc":
        die(rows, about, last_error="Google is away")
    newest = die(rows, "d", of="other", last_error="Google is away", updated_at="2100-01-01")
    old = die(rows, "e", "BAD_REQUEST", last_error="a colour that there is not", updated_at="-infinity")
    found = await site.document("/dead")
    causes = [(each["code"], each["error"], each["items"], each["workspaces"]) for each in found["errors"]]
    assert causes == [("EXHAUSTED", "Google is away", 4, 2), ("BAD_REQUEST", "a colour that there is not", 1, 1)]
    assert [each["ages"] for each in found["errors"]] == [[4, 0, 0, 0, 0, 0], [0, 0, 0, 0, 0, 1]]
    assert [each["newest"] for each in found["errors"]] == [str(newest), str(old)]
    assert found["total"] == 5
    for filters, items in (
        (f"workspace={W}", 4),
        ("code=bad_request", 1),
        ("age=1h", 1),
        ("error=Google+is+away", 4),
        ("error=Google", 0),
        ("code=AUTH", 0),
    ):
        page = await site.document(f"/dead?{filters}")
        assert page["total"] == items, filters
        told = await site.document(f"/dead/requeue?{filters}")
        assert told["found"] == items, "the forecast is of the same"
    page = await site.get("/dead")
    assert 'aria-label="4: less than 10 min"' in page
    assert 'href="/dead/requeue?code=EXHAUSTED&amp;error=Google+is+away"' in page
    forecast = await site.get("/dead/requeue?code=EXHAUSTED&error=Google+is+away")
    assert "requeue --code EXHAUSTED --error &#39;Google is away&#39; --dry-run" in forecast
    for wrong in ("workspace=x", "code=x", "age=x", f"workspace={workspace('unheard of')}"):
        await site.get(f"/dead?{wrong}", 422)
    for number in range(30):
        die(rows, f"n{number}", last_error=f"{number:02} <&' " + "\u00e9 words, " * 60)
    page = await site.get("/dead")
    assert "And 7 rarer causes" in page
    assert len(page.encode()) < 64 * 1024, "a client that does not read holds no console up"
    monkeypatch.setattr(dead, "CAP", 3)
    assert "over 3 dead letters" in await site.get("/dead")


async def test_acts_page_by_page(database: Database, rows: Rows, site: DatabaseSite) -> None:
    with open_admin_session(database.reactor, name="test") as admin:
        for number in range(acts.ROWS + 1):
            acts.record(admin, ActAuthor("ada", "command", f"reason {number}"), ActKind.DISABLE, workspace=workspace())
        acts.record(admin, ActAuthor("bob", "command"), ActKind.ROTATE, result={"rotated": 3})
    first = await site.document("/acts")
    assert [act["id"] for act in first["acts"]] == list(range(52, 2, -1))
    page = await site.get("/acts")
    assert "rotated 3" in page
    [older] = re.findall(r'href="(/acts\?before=\d+)"', page)
    assert [act["id"] for act in (await site.document(older))["acts"]] == [2, 1]
    assert [act["id"] for act in (await site.document(f"/acts?workspace={W}&before=3"))["acts"]] == [2, 1]
    for wrong in ("/acts?before=x", "/acts?before=-1", f"/acts/{2**63}", "/acts/99"):
        await site.get(wrong, 422)
    assert "does not run" in await site.post("/acts/1", {"reason": "stop it"}, 422)
    assert acts_page.PAGE.in_menu
    assert rows.one("select count(*) from sync_acts") == 52


async def test_a_forecast_is_the_commands(database: Database, rows: Rows, site: DatabaseSite) -> None:
    for about in ("sent", "outdated", "overtaken", "again", "again"):
        die(rows, about)
    die(rows, "parked", of="stranger")
    rows.insert("refused", status="DEAD_LETTER", failure_code="BAD_PAYLOAD", payload={"event": {"title": "Fire"}})
    floor(rows, "outdated", 1_000_000)
    rows.insert("overtaken", payload=EVENT)
    told = await site.document("/dead/requeue")
    command = document(database, "dead-letters", "requeue", "--all", "--dry-run")
    fates = {"sent": 2, "parked": 1, "behind": 0, "refused": 1, "outdated": 1, "overtaken": 2}
    assert {name: told[name] for name in fates} == {name: command[name] for name in fates} == fates
    assert told["found"] == command["found"] == 7
    assert "python -m reactor dead-letters requeue --all --dry-run" in await site.get("/dead/requeue")


async def test_the_first_page_leads_from_a_code_to_its_causes_and_these_say_what_to_do(
    rows: Rows, site: DatabaseSite
) -> None:
    for code in sorted(CODES):
        rows.insert(code, status="DEAD_LETTER", failure_code=None if code == "NONE" else code, last_error="it says no")
    first, causes = await site.get("/"), await site.get("/dead")
    for code in CODES:
        assert f'<a href="/dead?code={code}">{code}</a>' in first
        assert (f"<dt>{code}</dt>" in causes) == (code != "NONE"), "an older worker's has no code to advise on"
    assert "it says no" in await site.get("/dead?code=NONE")
