"""`/lint` over HTTP: it looks when it is asked to, and repeats no word."""

import json

import trio

from reactor.desk.lint import lint
from reactor.postgres.connection.admin import open_admin_session
from tests.console.open_site import open_site
from tests.support.databases import Database
from tests.support.dialogues import upsert_json

SECRET = "the secret plan"


async def test_a_viewer_may_look_and_gets_what_the_command_says(database: Database, nursery: trio.Nursery) -> None:
    async with open_site(nursery, database.reactor, may_act=False) as site:
        asked = await site.client.get("/lint")
        assert asked.status_code == 200
        assert "cost the database nothing" in asked.text, "a page load looks at nothing"
        told = await site.post("/lint", workspace="")
        assert "0 cannot be used" in told.text
        assert "python -m reactor lint" in told.text
        said = await site.document("/lint", {"workspace": ""})
        with open_admin_session(database.reactor, name="test") as admin:
            assert said == lint(admin).document()
        wrong = await site.post("/lint", workspace=SECRET)
        assert (wrong.status_code, "not the id of a workspace" in wrong.text) == (422, True)


async def test_a_pasted_payload_is_checked_without_the_database(nursery: trio.Nursery) -> None:
    async with open_site(nursery, "host=127.0.0.1 port=1 dbname=none user=none") as site:
        payload = json.dumps(upsert_json(SECRET), indent=1)
        good = await site.post("/lint", payload=payload)
        assert good.status_code == 200
        assert "(15 characters)" in good.text
        assert json.dumps(upsert_json(SECRET), indent=1).count("\n") == good.text.count("\n &#34;") + good.text.count(
            "\n  &#34;"
        ) + good.text.count("\n }") + good.text.count("\n}"), "the field shows what was pasted, with its lines"
        said = await site.document("/lint", {"payload": payload.replace("UPSERT_EVENT", "x</textarea><script>")})
        assert [each["field"] for each in said["problems"]] == ["operation"]
        bad = await site.post("/lint", payload="</textarea><script>alert(1)</script>\x1b[31m")
        assert "<script>alert" not in bad.text
        assert "\x1b" not in bad.text
        assert "must be JSON" in bad.text
