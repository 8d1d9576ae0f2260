"""What a claim costs, beside the claim before it and beside its floor; and what is written for an item.

With none, CLAIMS_FEW (10,000) and CLAIMS_WAITING (1,000,000) items waiting, and nothing finished, the claim is compared
with the one before it and with an UPDATE of as many rows by their ids, which is its floor: by turns in one session
each, in CPU of the server (Linux only), buffers and WAL. Nine of ten wait in one workspace, with 18 states of each
source, the others in 1,000 workspaces. What is written for an item: bytes and index entries when it is inserted,
claimed, settled. CLAIMS_PARTS chooses among them ("written compared"). `benchmarks.history` has what is longer.
"""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import psycopg
import trio

from reactor.core.item import AppliedReference, Binding, Item, Settlement
from reactor.postgres.connection.session import open_session
from reactor.postgres.outbox import Outbox
from reactor.postgres.setup.embedded import EmbeddedPostgres, embedded_postgres
from reactor.postgres.setup.migrations import migrate

WAITING = int(os.environ.get("CLAIMS_WAITING", "1000000"))
FEW = int(os.environ.get("CLAIMS_FEW", "10000"))
PARTS = os.environ.get("CLAIMS_PARTS", "written compared").split()
ROUNDS = 40

NOON = "2026-12-01T12:00:00Z"

CONNECT = """
insert into google_connections (workspace_id, refresh_token_encrypted, calendar_id)
select md5(n::text)::uuid, 'v1:k1:' || repeat('x', 200), 'primary' from generate_series(0, 1000) as n
"""
WAIT = """
insert into sync_outbox (workspace_id, operation, payload, next_attempt_at)
select md5((case when n %% 10 > 0 then 0 else 1 + n / 10 %% 1000 end)::text)::uuid, 'UPSERT_EVENT',
       jsonb_build_object(
         'operation', 'UPSERT_EVENT', 'workspaceId', md5((n %% 1001)::text)::uuid, 'calendarId', 'primary',
         'sourceType', 'task', 'sourceId', md5('source' || n %% (%s / 18))::uuid, 'eventType', 'MILESTONE',
         'event', jsonb_build_object('title', 'Something ' || n, 'start', now(), 'end', now())),
       now() - (1000000 - n) * interval '1 ms'
  from generate_series(1, %s) as n
"""
OTHERS = "select workspace_id from google_connections where workspace_id <> md5('0')::uuid"
TOP_UP = """
insert into sync_outbox (workspace_id, next_attempt_at, operation, payload)
select w, now() - %(ago)s * interval '1 s', 'UPSERT_EVENT', jsonb_build_object(
         'operation', 'UPSERT_EVENT', 'workspaceId', w, 'calendarId', 'primary',
         'sourceType', 'task', 'sourceId', gen_random_uuid(), 'eventType', 'MILESTONE',
         'event', jsonb_build_object(
           'title', 'A milestone of a project', 'description', 'What has to be true by then.',
           'start', '2026-12-01T09:00:00Z', 'end', '2026-12-01T10:00:00Z'))
  from (select %(workspaces)s::uuid[] as ws) as given
 cross join lateral (select ws[1 + n %% cardinality(ws)] as w from generate_series(1, %(slots)s) as n) as rows
"""
END = """
update sync_outbox set status = 'COMPLETED', processed_at = now(), lease_no = null where status = 'PROCESSING'
"""
CALL = """
select * from {}(
  %(workspaces)s::uuid[], array_fill(null::text, array[cardinality(%(workspaces)s::uuid[])]), null, 32, '{{}}',
  %(slots)s, 2 * %(slots)s, 512, 5, 1, false, 8000000, 262144)
"""
WAYS = {
    "update by id": """
update sync_outbox set status = 'PROCESSING', lease_no = 1, claim_no = null
 where id = any (array(
   select o.id
     from unnest(%(workspaces)s::uuid[]) as w (id)
    cross join lateral (
      select id from sync_outbox where status in ('PENDING', 'FAILED') and workspace_id = w.id
       order by next_attempt_at limit greatest(1, %(slots)s / 4)) as o
    limit %(slots)s))
""",
    "claim_in_order": CALL.format("sync_outbox_claim_in_order"),
    "claim_next": CALL.format("sync_outbox_claim_next"),
}


def done(item: Item) -> Settlement:
    """The item's event is in the calendar: its source is remembered, and bound."""
    about = item.source_key.removeprefix("task:")
    memory = replace(item.memory, event_id=about.replace("-", ""), calendar_id="primary", etag='"3500000000000000"')
    binding = Binding(memory.event_id or "", "primary", "task", about, "MILESTONE", "Something", NOON, NOON)
    return Settlement(
        item, "COMPLETED", 0, moves_floor=True, memory=memory, applied=AppliedReference.ROW, binding=binding
    )


class Measured:
    """One way to claim, in a session of its own."""

    def __init__(self, dsn: str, statement: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._statement = statement.encode()
        self._cpu: list[float] = []
        self.touched = self.wal = 0

    def claim(self, workspaces: list[UUID], slots: int, *, explained: bool = False) -> None:
        """Claim once; note the CPU, or what the plan says."""
        params = {"workspaces": workspaces, "slots": slots}
        if explained:
            statement = b"explain (analyze, buffers, wal, timing off, format json) " + self._statement
            [[[plan]]] = self._connection.execute(statement, params).fetchall()
            self.touched = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
            self.wal = plan["Plan"]["WAL Bytes"]
            return
        before = self._nanoseconds()
        self._connection.execute(self._statement, params, prepare=True)
        self._cpu.append((self._nanoseconds() - before) / 1000)

    def _nanoseconds(self) -> int:
        return int(Path(f"/proc/{self._connection.info.backend_pid}/schedstat").read_text().split()[0])

    def cost(self) -> float:
        """Microseconds of CPU: the lowest tenth, as others share the machine; the first claims make plans."""
        return sorted(self._cpu[8:])[len(self._cpu) // 10]

    def close(self) -> None:
        self._connection.close()


def compare(dsn: str, waiting: int) -> None:
    """Claim by turns, the old way, the new way, and by ids alone; as many are put in as are taken out."""
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(CONNECT)
        owner.execute(WAIT, (max(waiting, 18), waiting))
        owner.execute("vacuum analyze")
        workspaces = [w for (w,) in owner.execute(OTHERS + " order by workspace_id limit 4")]
        for slots in (1, 200):
            ways = {name: Measured(dsn, statement) for name, statement in WAYS.items()}
            for turn in range(8 + ROUNDS):
                for way in ways.values():
                    owner.execute(TOP_UP, {"workspaces": workspaces, "slots": slots, "ago": 0})
                    way.claim(workspaces, slots, explained=turn == 7 + ROUNDS)
                    owner.execute(END)
                if turn % 10 == 9:
                    owner.execute("vacuum sync_outbox")
            floor = ways["update by id"].cost()
            for name, way in ways.items():
                print(
                    f"{waiting:9,} wait, claim of {slots:3}, {name:14} {way.cost() / slots:8.1f} us of CPU an item,"
                    f" {way.cost() / floor:5.2f} of the floor, {way.touched / slots:6.1f} buffers,"
                    f" {way.wal / slots:6.0f} bytes of WAL"
                )
                way.close()


async def written(server: EmbeddedPostgres, dsn: str, items: int = 2000) -> None:
    """Print what is written for an item that is new to its source, from its insert to its end."""
    with psycopg.connect(dsn, autocommit=True) as owner:
        owner.execute(CONNECT)
        workspaces = [w for (w,) in owner.execute(OTHERS + " order by workspace_id limit 4")]
        async with open_session(dsn, name="claims") as session:
            outbox = Outbox(session)
            for is_warm in (False, True):
                with counted(server, owner, "insert", items, shown=is_warm):
                    owner.execute(TOP_UP, {"workspaces": workspaces, "slots": items, "ago": 0})
                with counted(server, owner, "claim", items, shown=is_warm):
                    while len(outbox.in_flight) < items:
                        await outbox.claim(slots=200)
                with counted(server, owner, "settle", items, shown=is_warm):
                    while some := outbox.in_flight[:200]:
                        await outbox.settle([done(item) for item in some])


@contextmanager
def counted(
    server: EmbeddedPostgres, owner: psycopg.Connection[tuple[object, ...]], what: str, items: int, *, shown: bool
) -> Iterator[None]:
    """Print the bytes of WAL and the index entries that the block writes."""
    [[began]] = owner.execute("select pg_current_wal_insert_lsn()::text").fetchall()
    yield
    [[ended, size]] = owner.execute(
        "select now.lsn::text, pg_wal_lsn_diff(now.lsn, %s)::float8 from pg_current_wal_insert_lsn() as now (lsn)",
        (began,),
    ).fetchall()
    owner.execute("select pg_switch_wal()")
    dump = subprocess.run(
        [
            server.bin_path / "pg_waldump",
            "-r",
            "Btree",
            "-p",
            server.data / "pg_wal",
            "-s",
            str(began),
            "-e",
            str(ended),
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if shown:
        entries = dump.count("desc: INSERT_LEAF") + dump.count("desc: SPLIT")
        print(f"{what:7} {float(str(size)) / items:6.0f} bytes of WAL and {entries / items:5.2f} index entries an item")


def main() -> None:
    """Run it and print the figures."""
    with embedded_postgres({"autovacuum": "off"}) as server:
        if "written" in PARTS:
            trio.run(written, server, emptied(server, "written"))
        if "compared" in PARTS:
            for waiting in (0, FEW, WAITING):
                compare(emptied(server, "compared"), waiting)


def emptied(server: EmbeddedPostgres, name: str) -> str:
    """A database of that name with nothing in it."""
    with psycopg.connect(server.url(), autocommit=True) as owner:
        owner.execute(f"drop database if exists {name}".encode())
        owner.execute(f"create database {name}".encode())
    migrate(server.url(name), progress=lambda _line: None)
    return server.url(name)


if __name__ == "__main__":
    main()
