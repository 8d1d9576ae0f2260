"""What operators do is recorded: every act, in its own transaction, and without a word that is not for everybody."""

import getpass
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reactor.desk import act_run, acts
from reactor.desk.act_run import RunState
from reactor.desk.acts import ActAuthor, ActKind
from reactor.desk.letters import requeue_run
from reactor.desk.letters.dead_letters import LetterFilter, forecast
from reactor.postgres.connection.admin import open_admin_session
from reactor.token_encryption import TokenCipher
from tests.commands.test_commands_dead_letters import EVENT, die
from tests.support.commands import call, document, inherited
from tests.support.databases import Database, wait_until
from tests.support.outbox_world import World as Rows, workspace
from tests.support.process_world import KEYS

OLD, TOKEN = "1//0what-is-stored", "1//0a-new-consent"
WORDS = ("Fire the whole team", "secret words")
W = str(workspace())
INVITE = ("invitations", "make", "--console", "https://console.example.com")
NEW_KEYS = f"k2:{'B' * 42}A=,{KEYS}"
BY = ActAuthor("ada", "console", "because")


@pytest.fixture
def rows(database: Database) -> Iterator[Rows]:
    """A workspace in which every act has something to do."""
    rows = Rows(database)
    rows.connect(token=TokenCipher.from_setting(KEYS).encrypt(workspace(), OLD))
    rows.connect("off", "1//0not-even-encrypted", valid=False)
    for about in "abc":
        die(rows, about)
    stop = "insert into sync_brakes (workspace_id, cause, deletes, events) values (%s, 'BURST', 30, 40)"
    rows.connection.execute(stop, (workspace(),))
    yield rows
    rows.close()


ACTS: dict[ActKind, tuple[str, ...]] = {
    ActKind.REQUEUE: ("dead-letters", "requeue", "--workspace", W, "--code", "EXHAUSTED", "--rate", "1000"),
    ActKind.RELEASE: ("brake", "release", "--workspace", W),
    ActKind.ENABLE: ("connections", "enable", "--workspace", str(workspace("off"))),
    ActKind.DISABLE: ("connections", "disable", "--workspace", W),
    ActKind.CONNECT: ("connections", "add", "--workspace", W, "--calendar", "team@example.com", "--no-verify"),
    ActKind.REBUILD: ("rebuild", "--workspace", W),
    ActKind.ROTATE: ("tokens", "rotate"),
    ActKind.INVITE: (*INVITE, "--workspace", W, "--calendar", "team@example.com"),
}
STATE = """
select jsonb_build_object(
  'outbox', (select jsonb_agg(to_jsonb(o) order by o.id) from sync_outbox as o),
  'brakes', (select jsonb_agg(to_jsonb(b)) from sync_brakes as b),
  'connections', (select jsonb_agg(to_jsonb(c) order by c.id) from google_connections as c),
  'invitations', (select jsonb_agg(to_jsonb(i)) from sync_invitations as i))
"""


def do(database: Database, kind: ActKind, *more: str) -> Any:
    environment = {"TOKEN_ENCRYPTION_KEYS": NEW_KEYS} if kind is ActKind.ROTATE else {}
    return call(database.reactor, *ACTS[kind], *more, stdin=TOKEN, **environment)


OTHERS = (ActKind.STOP, ActKind.WORDS, ActKind.UNINVITE)
"""Those that have tests of their own: below, in tests/postgres/test_console_roles.py, and in those of invitations."""


def test_every_act_is_among_these() -> None:
    assert {*ACTS, *OTHERS} == set(ActKind)


@pytest.mark.parametrize("kind", ACTS)
def test_an_act_is_recorded_with_who_and_why(database: Database, rows: Rows, kind: ActKind) -> None:
    assert do(database, kind, "--reason", "the \x1b[31mfault\u202e is mended").exit_code in (0, 1)
    [found] = document(database, "acts", "list")["acts"]
    assert (found["who"], found["how"], found["act"]) == (getpass.getuser(), "command", kind)
    assert found["reason"] == "the  [31mfault  is mended", "without what a terminal obeys"
    assert document(database, "acts", "show", str(found["id"])) == found
    whole = found["workspace"] is None
    assert whole == (kind is ActKind.ROTATE)
    assert all(word in str(EVENT) for word in WORDS)
    dump = rows.one("select jsonb_agg(to_jsonb(a))::text from sync_acts as a")
    stored = rows.one("select string_agg(refresh_token_encrypted, ' ') from google_connections").split()
    for secret in (OLD, TOKEN, *WORDS, *stored):
        assert secret not in dump


@pytest.mark.parametrize("kind", ACTS)
def test_what_cannot_be_recorded_is_not_done(database: Database, rows: Rows, kind: ActKind) -> None:
    rows.connection.execute(
        "create function refuse() returns trigger language plpgsql as $$ begin raise 'no room'; end $$;"
        "create trigger refuse before insert on sync_acts execute function refuse()"
    )
    before = rows.one(STATE)
    assert do(database, kind).exit_code == 2
    assert rows.one(STATE) == before


def test_what_is_not_done_is_not_recorded(database: Database, rows: Rows) -> None:
    for kind in (ActKind.REQUEUE, ActKind.RELEASE, ActKind.REBUILD, ActKind.ROTATE):
        do(database, kind, "--dry-run")
    for wrong in ("", "x" * 501):
        assert do(database, ActKind.DISABLE, "--reason", wrong).exit_code == 2
    call(database.reactor, "connections", "enable", "--workspace", W)  # it is
    call(database.reactor, "brake", "release", "--workspace", str(workspace("off")))  # it is not stopped
    call(database.reactor, "dead-letters", "requeue", "--code", "AUTH")  # there are none
    assert "There are no such acts" in call(database.reactor, "acts", "list").stderr


def test_they_are_listed_page_by_page(database: Database, rows: Rows) -> None:
    for _ in range(3):
        do(database, ActKind.DISABLE)
        call(database.reactor, "connections", "enable", "--workspace", W)
    do(database, ActKind.ENABLE)
    first = document(database, "acts", "list", "--workspace", W, "--rows", "4")
    rest = document(database, "acts", "list", "--workspace", W, "--before", str(first["before"]))
    assert [act["act"] for act in (*first["acts"], *rest["acts"])] == ["connection enable", "connection disable"] * 3
    assert rest["before"] is None
    shown = call(database.reactor, "acts", "list", "--rows", "2")
    assert f"--before {document(database, 'acts', 'list', '--rows', '2')['before']}`" in shown.stderr
    assert call(database.reactor, "acts", "show", "99").exit_code == 2


def forecast_of(admin: Any) -> Callable[[], requeue_run.RequeueRun]:
    which = LetterFilter(workspace())
    return lambda: requeue_run.begin(admin, which, forecast(admin, which), 5.0, BY)


def test_a_run_says_how_far_it_is_and_is_stopped_by_another_person(database: Database, rows: Rows) -> None:
    with open_admin_session(database.reactor, name="test") as admin:
        run = forecast_of(admin)()
        number = str(run.act.id)

        def shown() -> tuple[str, int, int]:
            result = document(database, "acts", "show", number)["result"]
            return result["state"], result["done"], result["of"]

        assert shown() == ("running", 0, 3)
        with act_run.ending(admin, run.act):
            for (_, ids), stops in zip(run.portions(), (False, True), strict=False):
                if stops:
                    assert call(database.reactor, "acts", "stop", number, "--reason", "enough").exit_code == 0
                run.put_back(admin, ids)
                assert run.act.stops is stops
                assert shown() == ("running", run.act.done, 3)
        assert shown() == ("stopped", 2, 3)
        assert call(database.reactor, "acts", "stop", number).exit_code == 2, "it has ended"
        assert acts.act(admin, run.act.id)["forecast"] == {"found": 3, "sent": 3}
    [stop, _] = document(database, "acts", "list")["acts"]
    assert (stop["act"], stop["reason"], stop["target"]) == ("stop", "enough", {"run": run.act.id})


def test_what_ends_without_a_word_is_shown_as_broken_off(database: Database, rows: Rows) -> None:
    with open_admin_session(database.reactor, name="test") as admin:
        run = forecast_of(admin)().act
        rows.connection.execute(
            "update sync_acts set result = result || jsonb_build_object('at', clock_timestamp() - interval '3 min')"
        )
        assert acts.act(admin, run.id)["result"]["state"] == RunState.BROKEN_OFF
        assert acts.listed(admin).rows[0]["result"]["state"] == RunState.BROKEN_OFF


def test_a_person_who_breaks_it_off_leaves_word(database: Database, rows: Rows) -> None:
    for number in range(100):
        die(rows, str(number))
    command = [sys.executable, "-m", "reactor", "dead-letters", "requeue", "--all", "--rate", "20"]
    with subprocess.Popen(command, env=inherited(DATABASE_URL=database.reactor), stderr=subprocess.PIPE) as process:
        wait_until(lambda: bool(rows.one("select count(*) from sync_outbox where status = 'PENDING'")))
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    [act] = document(database, "acts", "list")["acts"]
    back = rows.one("select count(*) from sync_outbox where status = 'PENDING'")
    assert (act["result"]["state"], act["result"]["done"]) == ("broken off", back)
