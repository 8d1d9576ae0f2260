"""`check`: says of everything whether it is well, and what to do where it is not."""

import json
import re
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from reactor.desk.check import database as database_check
from reactor.desk.check.finding import CheckVerdict, clock
from reactor.postgres.connection.admin import open_admin_session
from reactor.token_encryption import VERSION_2, TokenCipher
from tests.docs.test_docs_commands import pasted
from tests.support.commands import call, call_beside
from tests.support.databases import Database
from tests.support.google_fixtures import GoogleServer
from tests.support.outbox_world import World as Rows, workspace
from tests.support.process_world import KEYS, World


async def findings(google: GoogleServer, dsn: str | None, code: int = 0, **environment: str) -> dict[str, Any]:
    result = await call_beside(google, dsn, "check", "--json", **environment)
    assert result.exit_code == code, result.output
    return {finding["check"]: (finding["verdict"], finding["says"]) for finding in json.loads(result.stdout)}


async def test_all_is_well(world: World) -> None:
    world.connect()
    found = await findings(world.google, world.database.reactor)
    assert {verdict for verdict, _ in found.values()} == {"ok"}
    assert set(found) == {
        "settings",
        "database",
        "schema",
        "server",
        "clock, database",
        "notify queue",
        "lock table",
        "rights",
        "rehearsal",
        "tokens",
        "google, calendar",
        "clock, google",
        "google, tokens",
    }
    assert found["google, tokens"][1] == "reachable, and accepts our client id and secret"
    assert found["tokens"][1] == "all 1 stored tokens decrypt"
    lines = [line for command, line in pasted("commands.md") if command == "python -m reactor check"][1:]
    shown = {name: (verdict, text) for name, verdict, text in (re.split(r"\s{2,}", line) for line in lines)}
    del shown["server"], found["server"]
    assert re.sub(r"\d+", "1", str(shown)).replace(",1", "") == re.sub(r"\d+", "1", str(found)).replace(",1", "")


async def test_an_order_that_is_or_was_behind(world: World) -> None:
    world.connect()
    about = "insert into sync_sources (workspace_id, source_key, floor_seq) values (gen_random_uuid(), 'task:1', 70)"
    world.execute(about)
    found = await findings(world.google, world.database.reactor)
    assert found["order"][0] == "warn"
    assert "a restored backup?" in found["order"][1]
    world.execute("select sync_order_mend('START', null), sync_order_mend('GOOGLE', (2 ^ 52)::bigint)")
    found = await findings(world.google, world.database.reactor)
    assert found["order"][0] == "warn"
    assert "mended: 2 times" in found["order"][1]
    assert "another database" not in found["order"][1], "once may be a backup"
    world.execute("select sync_order_mend('GOOGLE', (2 ^ 52 + 2 ^ 40)::bigint)")
    found = await findings(world.google, world.database.reactor)
    assert "another database" in found["order"][1]


async def test_nothing_is_set() -> None:
    result = call(None, "check", TOKEN_ENCRYPTION_KEYS="")
    assert result.exit_code == 1
    for name in ("DATABASE_URL", "GOOGLE_CLIENT_ID", "GOOGLE_CLIENT_SECRET", "TOKEN_ENCRYPTION_KEYS"):
        assert f"{name} is not set" in result.stdout


async def test_what_is_away(google: GoogleServer) -> None:
    found = await findings(
        google,
        "postgresql://me:hunter2@127.0.0.1:1/app",
        1,
        GOOGLE_API_ROOT="http://127.0.0.1:1/",
        GOOGLE_TOKEN_URI="http://127.0.0.1:1/token",
    )
    assert found["database"][0] == "fail"
    assert found["google, calendar"] == (
        "fail",
        "cannot be reached (no connection): look at the network, at proxies, and at GOOGLE_API_ROOT",
    )
    assert found["google, tokens"][0] == "fail"
    assert "hunter2" not in str(found)


async def test_a_client_that_google_does_not_know(google: GoogleServer, database: Database) -> None:
    found = await findings(google, database.reactor, 1, GOOGLE_CLIENT_SECRET="wrong")
    assert found["google, tokens"][0] == "fail"
    assert "refuses our client (invalid_client): compare GOOGLE_CLIENT_ID" in found["google, tokens"][1]


async def test_a_deployment_with_service_accounts_only(google: GoogleServer, database: Database, rows: Rows) -> None:
    rows.connect("robot", TokenCipher.from_setting(KEYS).encrypt(workspace("robot"), "{}", version=VERSION_2))
    found = await findings(google, database.reactor, GOOGLE_CLIENT_ID="none", GOOGLE_CLIENT_SECRET="none")
    assert found["google, tokens"] == ("ok", "reachable; GOOGLE_CLIENT_ID is none, for service accounts only")
    rows.connect("person", TokenCipher.from_setting(KEYS).encrypt(workspace("person"), "1//x"))
    found = await findings(google, database.reactor, 1, GOOGLE_CLIENT_ID="none", GOOGLE_CLIENT_SECRET="none")
    assert found["tokens, client"] == (
        "fail",
        "1 refresh tokens are stored, which need an OAuth client, and GOOGLE_CLIENT_ID is none",
    )


async def test_a_root_that_leads_elsewhere(google: GoogleServer, database: Database) -> None:
    found = await findings(google, database.reactor, 1, GOOGLE_API_ROOT=f"{google.url}/elsewhere/")
    assert found["google, calendar"] == ("fail", "answers 404 where 401 is expected: is GOOGLE_API_ROOT right?")


async def test_a_schema_and_a_role_that_lack_something(google: GoogleServer, database: Database) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute("drop trigger sync_outbox_wake_insert on sync_outbox")
        owner.execute("revoke delete on sync_outbox from calendar_sync_reactor")
    found = await findings(google, database.reactor, 1)
    assert found["schema"][0] == "fail"
    assert "Trigger sync_outbox_wake_insert on sync_outbox is missing. Run `python -m reactor" in found["schema"][1]
    assert found["rights"][0] == "fail"
    assert found["rights"][1].startswith("the role lacks delete on sync_outbox: use a login")


GRANTS = """
select t.relname::text as name, format('%s on public.%I', a.privilege_type, t.relname) as wanted
  from pg_class as t, aclexplode(t.relacl) as a
 where a.grantee = 'calendar_sync_reactor'::regrole and t.relkind = 'r'
union all
select t.relname::text, format('usage on sequence public.%I', t.relname)
  from pg_class as t, aclexplode(t.relacl) as a
 where a.grantee = 'calendar_sync_reactor'::regrole and t.relkind = 'S'
union all
select p.proname::text, format('execute on function %s', p.oid::regprocedure)
  from pg_proc as p, aclexplode(p.proacl) as a
 where a.grantee = 'calendar_sync_reactor'::regrole
   and p.pronamespace = 'public'::regnamespace and p.prorettype <> 'trigger'::regtype
"""
OF_THE_APPLICATION = {"try_lock_outbox_item", "unlock_outbox_item", "cleanup_old_outbox_items"}  # deployed before us


def test_every_right_that_is_granted_is_asked_for(database: Database) -> None:
    with (
        psycopg.connect(database.owner, autocommit=True) as owner,
        open_admin_session(database.reactor, name="test") as admin,
    ):
        grants = owner.execute(GRANTS).fetchall()
        assert len(grants) > 30
        for name, wanted in grants:
            owner.execute(f"revoke {wanted} from public, calendar_sync_reactor")
            [finding] = database_check._rights(admin)
            owner.execute(f"grant {wanted} to calendar_sync_reactor")
            if name not in OF_THE_APPLICATION:
                assert name in finding.says, f"without {wanted} the service does not work"
        [finding] = database_check._rights(admin)
        assert finding.verdict is CheckVerdict.OK


@pytest.mark.parametrize(
    ("made", "taken", "grant"),
    [
        (
            "create view calendar_source_events as select gen_random_uuid() as workspace_id",
            "revoke select on calendar_source_events from calendar_sync_reactor",
            "GRANT SELECT ON public.calendar_source_events TO calendar_sync_reactor",
        ),
        (
            (
                "create function calendar_source_events(uuid) returns table (workspace_id uuid) "
                "language sql as 'select $1'"
            ),
            "revoke execute on function calendar_source_events(uuid) from public, calendar_sync_reactor",
            "GRANT EXECUTE ON FUNCTION public.calendar_source_events(uuid) TO calendar_sync_reactor",
        ),
    ],
    ids=["view", "function"],
)
def test_the_applications_state_that_may_not_be_read(database: Database, made: str, taken: str, grant: str) -> None:
    with (
        psycopg.connect(database.owner, autocommit=True) as owner,
        open_admin_session(database.reactor, name="test") as admin,
    ):
        assert list(database_check._view(admin)) == [], "there is none"
        owner.execute(f"{made}; {taken}")
        [finding] = database_check._view(admin)
        assert finding.verdict is CheckVerdict.FAIL
        assert finding.says == f"calendar_source_events may not be read, so rebuilds wait. Run: {grant}"
        owner.execute(grant)
        assert list(database_check._view(admin)) == []


async def test_an_empty_database(google: GoogleServer, empty_database: str) -> None:
    found = await findings(google, empty_database, 1)
    assert found["schema"][1].endswith("Run `python -m reactor migrate` as the owner of the tables.")
    assert "has no sync_outbox" in found["database"][1]


async def test_the_owner_is_more_than_is_needed(google: GoogleServer, database: Database) -> None:
    found = await findings(google, database.owner)
    assert found["role"][0] == "warn"
    assert "is a superuser" in found["role"][1]


async def test_tokens_that_do_not_decrypt(world: World, rows: Rows) -> None:
    world.connect()
    old = await findings(world.google, world.database.reactor, TOKEN_ENCRYPTION_KEYS=f"k2:{'B' * 42}A=,{KEYS}")
    assert old["tokens"] == ("ok", "all 1 stored tokens decrypt")
    advice = "1 decrypt, but not with the first key: run `python -m reactor tokens rotate`"
    assert old["tokens, first key"] == ("warn", advice)
    lost = await findings(world.google, world.database.reactor, 1, TOKEN_ENCRYPTION_KEYS=f"k2:{'B' * 42}A=")
    assert lost["tokens"][0] == "fail"
    assert lost["tokens"][1].startswith("1 of 1: the stored token was encrypted with key 'k1'")
    rows.connect("damaged", "v1:k1:AAAA")
    damaged = await findings(world.google, world.database.reactor)
    assert damaged["tokens"][0] == "warn"
    assert damaged["tokens"][1].startswith("1 of 2: ")


def test_clocks() -> None:
    def verdict(seconds: float) -> tuple[str, str]:
        finding = clock("clock", timedelta(seconds=seconds))
        return str(finding.verdict), finding.says

    assert verdict(1.0)[0] == "ok"
    assert verdict(-60.0) == ("warn", "1 min behind this machine's: let NTP set both")
    assert verdict(600.0) == ("fail", "10 min ahead of this machine's: let NTP set both")


def test_a_notify_queue_that_fills() -> None:
    assert [str(database_check._queue({"queue": share}).verdict) for share in (0.0, 0.2, 0.6)] == ["ok", "warn", "fail"]


@pytest.mark.parametrize(
    ("batch", "slots", "verdict"),
    [(1_000, 6_400, "ok"), (200, 800, "ok"), (200, 799, "warn"), (200, 400, "warn"), (200, 399, "fail")],
)
def test_a_lock_table_that_a_claim_could_fill(batch: int, slots: int, verdict: str) -> None:
    finding = database_check._locks_of_a_claim(batch, slots)
    assert finding.verdict == verdict
    assert f"{slots:,} locks" in finding.says
    assert ("CALENDAR_SYNC_BATCH_SIZE" in finding.says) is (verdict != "ok")


async def test_the_lock_table_is_the_servers_own(world: World) -> None:
    [[slots]] = world.execute(
        "select product from (select setting::integer * (select sum(setting::integer) from pg_settings"
        " where name in ('max_connections', 'max_prepared_transactions')) as product from pg_settings"
        " where name = 'max_locks_per_transaction') as s"
    )
    found = await findings(world.google, world.database.reactor, CALENDAR_SYNC_BATCH_SIZE="1000")
    assert found["lock table"][1] == f"a claim locks up to 1,000 items; the server has room for {slots:,} locks"
