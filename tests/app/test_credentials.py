"""From the stored consent to access tokens, and back when Google rotates: with a real database and the emulator."""

import json
from collections.abc import AsyncIterator
from functools import partial
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
import trio
from structlog.testing import capture_logs

from reactor.core.health import HealthFacts
from reactor.core.item import Item, SourceState, WorkspaceConnection
from reactor.core.outcome import Dead, FailureCode, Retry, Scope
from reactor.credential_store import CredentialStore
from reactor.errors import TransientError
from reactor.google.credentials import account_of
from reactor.google.endpoints import NO_CLIENT, OAuthClient
from reactor.google.token_exchange import TokenExchange
from reactor.google.tokens import TokenSource
from reactor.housekeeping import Housekeeping
from reactor.postgres.connection.pool import Pool
from reactor.token_encryption import VERSION_2, TokenCipher
from tests.google.test_tokens import together
from tests.support.databases import Database
from tests.support.google_fixtures import USER, GoogleServer
from tests.support.key_files import ROBOT, key_file, robot
from tests.support.waiting import until

WORKSPACE = UUID("6f1a2b3c-0000-4000-8000-00000000000a")
KEY = "k1:" + "A" * 43 + "="
OTHER_KEY = "k2:" + "B" * 42 + "A="


@pytest.fixture
def cipher() -> TokenCipher:
    return TokenCipher.from_setting(KEY)


@pytest.fixture
async def pool(database: Database) -> AsyncIterator[Pool]:
    pool = Pool(database.reactor)
    yield pool
    await pool.aclose()


@pytest.fixture
async def credentials(
    google: GoogleServer, pool: Pool, cipher: TokenCipher, nursery: trio.Nursery
) -> AsyncIterator[CredentialStore]:
    client_of_ours = OAuthClient(google.client_id, google.client_secret, google.token_uri)
    async with httpx.AsyncClient() as client:
        yield CredentialStore(cipher, pool, TokenExchange(client), partial(account_of, client=client_of_ours), nursery)


def item(consent: WorkspaceConnection, workspace_id: UUID = WORKSPACE) -> Item:
    return Item(
        id=uuid4(),
        workspace_id=workspace_id,
        source_key="task:1",
        seq=1,
        claim_no=1,
        operation="UPSERT_EVENT",
        payload={},
        attempts=0,
        max_attempts=5,
        age=0.0,
        is_child=False,
        memory=SourceState(),
        connection=consent,
    )


def source(credentials: CredentialStore, consent: WorkspaceConnection, workspace_id: UUID = WORKSPACE) -> TokenSource:
    found = credentials.tokens_of(item(consent, workspace_id))
    assert isinstance(found, TokenSource)
    return found


def connect(database: Database, stored: str) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        owner.execute(
            "insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id) values (%s, %s, 'x')"
            " on conflict (workspace_id) do update set refresh_token_encrypted = excluded.refresh_token_encrypted",
            (WORKSPACE, stored),
        )


def stored_in(database: Database) -> str:
    with psycopg.connect(database.owner) as owner:
        [[stored]] = owner.execute("select refresh_token_encrypted from google_connections").fetchall()
        return str(stored)


async def test_a_consent_becomes_a_token(
    credentials: CredentialStore, cipher: TokenCipher, google: GoogleServer
) -> None:
    consent = WorkspaceConnection(cipher.encrypt(WORKSPACE, google.refresh_token), "1")
    with trio.fail_after(30):
        token = await source(credentials, consent).token()
        assert await source(credentials, consent).token() == token
    assert google.emulator.log.count("token", 200) == 1


async def test_a_rotated_token_is_stored_and_costs_no_other_refresh(
    credentials: CredentialStore, cipher: TokenCipher, google: GoogleServer, database: Database
) -> None:
    google.emulator.settings.rotate = True
    before = cipher.encrypt(WORKSPACE, google.refresh_token)
    connect(database, before)
    with trio.fail_after(30):
        token = await source(credentials, WorkspaceConnection(before, "1")).token()
        await until(lambda: stored_in(database) != before)
        after = stored_in(database)
        assert cipher.decrypt(WORKSPACE, after) != google.refresh_token
        assert await source(credentials, WorkspaceConnection(after, "2")).token() == token
    assert google.emulator.log.count("token", 200) == 1


async def test_locked_connections_hold_up_no_other_token_and_no_measure(
    credentials: CredentialStore, cipher: TokenCipher, google: GoogleServer, database: Database, pool: Pool
) -> None:
    """More connections than the pool has are locked by the application; theirs are stored once it lets go."""
    google.emulator.settings.rotate = True
    before = {}
    for number in range(1, 7):
        before[UUID(int=number)] = cipher.encrypt(UUID(int=number), google.emulator.oauth.grant(USER))
    free = UUID(int=6)
    rounds = Housekeeping(pool, HealthFacts({}), retention_days=30)

    def changed() -> set[UUID]:
        with psycopg.connect(database.owner) as owner:
            rows = owner.execute("select workspace_id, refresh_token_encrypted from google_connections").fetchall()
        return {workspace for workspace, stored in rows if stored != before[workspace]}

    with psycopg.connect(database.owner) as application, trio.fail_after(30):
        for workspace, stored in before.items():
            application.execute(
                "insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id)"
                " values (%s, %s, 'x')",
                (workspace, stored),
            )
        application.commit()
        application.execute("select from google_connections where workspace_id <> %s for update", (free,))
        for workspace, stored in before.items():
            await source(credentials, WorkspaceConnection(stored, "1"), workspace).token()
        with trio.fail_after(pool.statement_timeout / 2):  # waiting for a lock ends with the statement's time, too
            await until(lambda: changed() == {free})
            await rounds.measure()
        application.rollback()
        await until(lambda: changed() == set(before))


async def test_a_rotated_token_does_not_overwrite_that_of_somebody_who_connected_again(
    credentials: CredentialStore, cipher: TokenCipher, google: GoogleServer, database: Database
) -> None:
    google.emulator.settings.rotate = True
    renewed = cipher.encrypt(WORKSPACE, "of another consent")
    connect(database, renewed)
    consent = WorkspaceConnection(cipher.encrypt(WORKSPACE, google.refresh_token), "1")
    with trio.fail_after(30), capture_logs() as logs:
        await source(credentials, consent).token()
        await until(lambda: logs)
    assert [entry["event"] for entry in logs] == ["rotated_refresh_token_of_a_former_consent"]
    assert stored_in(database) == renewed


async def test_a_token_that_is_encrypted_anew_is_the_same_account(
    credentials: CredentialStore, cipher: TokenCipher, google: GoogleServer
) -> None:
    """Where every refresh rotates, a second source would refresh with a token that the first has used up."""
    consent = WorkspaceConnection(cipher.encrypt(WORKSPACE, google.refresh_token), "1")
    with trio.fail_after(30):
        token = await source(credentials, consent).token()
        renewed = WorkspaceConnection(cipher.rotate(WORKSPACE, consent.token), "2")
        assert source(credentials, renewed) is source(credentials, consent)
        assert await source(credentials, renewed).token() == token
        assert source(credentials, WorkspaceConnection(cipher.encrypt(WORKSPACE, "another"), "3")) is not source(
            credentials, consent
        )
    assert google.emulator.log.count("token", 200) == 1


async def test_a_rotated_token_is_known_however_it_is_encrypted(
    credentials: CredentialStore, cipher: TokenCipher, google: GoogleServer, database: Database
) -> None:
    google.emulator.settings.rotate = True
    before = cipher.encrypt(WORKSPACE, google.refresh_token)
    connect(database, before)
    with trio.fail_after(30):
        first = source(credentials, WorkspaceConnection(before, "1"))
        renewed = cipher.rotate(WORKSPACE, before)
        connect(database, renewed)  # before the refresh lands
        await first.token()
        await until(lambda: stored_in(database) != renewed)
        for text in (before, renewed, stored_in(database), cipher.rotate(WORKSPACE, stored_in(database))):
            assert source(credentials, WorkspaceConnection(text, "2")) is first


async def test_without_its_key_a_token_holds_the_workspace_and_blames_nobody(credentials: CredentialStore) -> None:
    stored = TokenCipher.from_setting(OTHER_KEY).encrypt(WORKSPACE, "secret")
    outcome = credentials.tokens_of(item(WorkspaceConnection(stored, "1")))
    assert isinstance(outcome, Retry)
    assert (outcome.counts, outcome.scope, outcome.outage) == (False, Scope.LANE, False)
    assert credentials.undecipherable == 1


async def test_a_token_of_another_workspace_takes_a_new_consent(
    credentials: CredentialStore, cipher: TokenCipher
) -> None:
    stored = cipher.encrypt(uuid4(), "secret")
    outcome = credentials.tokens_of(item(WorkspaceConnection(stored, "1")))
    assert isinstance(outcome, Dead)
    assert (outcome.code, outcome.connection_invalid) == (FailureCode.AUTH, True)


async def test_a_service_account_is_one_source_however_it_is_encrypted(
    credentials: CredentialStore, cipher: TokenCipher, google: GoogleServer
) -> None:
    document = await trio.to_thread.run_sync(lambda: google.emulator.add_service_account(ROBOT))
    stored = cipher.encrypt(WORKSPACE, robot(document).text, version=VERSION_2)
    with trio.fail_after(30):
        first = source(credentials, WorkspaceConnection(stored, "1"))
        tokens = await together(20, first.token)
        assert len(set(tokens)) == 1
        renewed = TokenCipher.from_setting(f"{OTHER_KEY},{KEY}").rotate(WORKSPACE, stored)
        assert renewed.startswith("v2:k2:")
        assert source(credentials, WorkspaceConnection(cipher.rotate(WORKSPACE, stored), "2")) is first
    assert first.quota_user == str(WORKSPACE)
    assert google.emulator.log.count("token", 200) == 1


@pytest.mark.parametrize("secret", ["{", "{}", json.dumps(key_file())])
async def test_what_is_no_credential_takes_a_new_one(
    credentials: CredentialStore, cipher: TokenCipher, secret: str
) -> None:
    with capture_logs() as logs:
        outcome = credentials.tokens_of(
            item(WorkspaceConnection(cipher.encrypt(WORKSPACE, secret, version=VERSION_2), "1"))
        )
    assert isinstance(outcome, Dead)
    assert (outcome.code, outcome.connection_invalid) == (FailureCode.AUTH, True)
    assert [entry["event"] for entry in logs] == ["token_not_decrypted"]


async def test_without_an_oauth_client_a_refresh_token_holds_its_workspace(
    pool: Pool, cipher: TokenCipher, nursery: trio.Nursery, google: GoogleServer
) -> None:
    alone = partial(account_of, client=OAuthClient(NO_CLIENT, NO_CLIENT, google.token_uri))
    async with httpx.AsyncClient() as client:
        credentials = CredentialStore(cipher, pool, TokenExchange(client), alone, nursery)
        outcome = credentials.tokens_of(item(WorkspaceConnection(cipher.encrypt(WORKSPACE, "1//x"), "1")))
        account = cipher.encrypt(WORKSPACE, robot(key_file()).text, version=VERSION_2)
        assert isinstance(credentials.tokens_of(item(WorkspaceConnection(account, "2"))), TokenSource)
    assert isinstance(outcome, Retry)
    assert (outcome.counts, outcome.scope) == (False, Scope.LANE)
    assert outcome.reason.startswith("GOOGLE_CLIENT_ID is none")


async def test_the_pool_connects_late_and_again(pool: Pool, database: Database) -> None:
    with psycopg.connect(database.owner, autocommit=True) as owner:
        ours = "from pg_stat_activity where application_name = 'calendar-sync-reactor'"
        assert owner.execute(f"select count(*) {ours}").fetchone() == (0,)
        assert await pool.execute("select 1") == [(1,)]
        assert owner.execute(f"select count(*) {ours}").fetchone() == (1,)
        owner.execute(f"select pg_terminate_backend(pid, 5000) {ours}")
        assert await pool.execute("select 2") == [(2,)]


async def test_the_pool_says_that_the_database_is_away(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reactor.postgres.connection.pool._WAIT", 0.2)
    pool = Pool(f"host={tmp_path} dbname=x")
    with trio.fail_after(30), pytest.raises(TransientError, match="Cannot connect to the database"):
        await pool.execute("select 1")
    await pool.aclose()
