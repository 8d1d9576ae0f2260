"""What waking the reactor costs the application's writers.

pgbench commits single-row inserts into `sync_outbox` while a consumer in a process of its own completes them. Four
set-ups take turns in one run, on one server with fsync on:

- no trigger, and a consumer that polls every 5 ms (the yardstick);
- a trigger that notifies on every statement, and a consumer that listens;
- the gate, and a consumer behind it;
- the gate, and two consumers.

Prints commits per second (median of the rounds), the ratio to the yardstick, and how many notifications were heard per
1,000 commits.
"""

import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from pathlib import Path

import psycopg
import trio

from reactor.core.dispatch.gate import Look, LookResult
from reactor.postgres.connection.session import open_session
from reactor.postgres.setup.embedded import EmbeddedPostgres, embedded_postgres
from reactor.postgres.setup.migrations import migrate
from reactor.postgres.wakeups import Wakeups

ROUNDS = 5
SECONDS = 3
CLIENTS = (1, 8, 32)

SCRIPT = """
insert into sync_outbox (workspace_id, operation, payload)
values ('00000000-0000-0000-0000-000000000001', 'UPSERT_EVENT',
        jsonb_build_object('sourceType', 'task', 'sourceId', gen_random_uuid()));
"""
TAKE = """
with due as (
  select id from sync_outbox
  where workspace_id = '00000000-0000-0000-0000-000000000001' and status in ('PENDING', 'FAILED')
    and next_attempt_at <= now()
  order by next_attempt_at limit 200 for update skip locked)
update sync_outbox o set status = 'COMPLETED', processed_at = now() from due where o.id = due.id returning 1
"""
ALWAYS = """
create function always() returns trigger language plpgsql as $$ begin notify sync_outbox; return null; end $$;
create trigger always after insert on sync_outbox for each statement execute function always();
alter table sync_outbox disable trigger always;
"""
WAKE = "sync_outbox_wake_insert"
SET_UPS: dict[str, tuple[str | None, tuple[str, ...]]] = {
    "no trigger, polling": (None, ("polling",)),
    "always notify": ("always", ("listening",)),
    "gate": (WAKE, ("gate",)),
    "gate, two replicas": (WAKE, ("gate", "gate")),
}


async def consume(kind: str, dsn: str) -> None:
    """Take rows until standard input ends, then print how many notifications were heard."""
    heard = 0

    def count(_pid: int) -> None:
        nonlocal heard
        heard += 1

    async with trio.open_nursery() as nursery, open_session(dsn, name="taker", on_notify=count) as session:

        async def look() -> Look:
            return Look(LookResult.WORK if await session.execute(TAKE) else LookResult.NOTHING)

        async def poll() -> None:
            while True:
                if (await look()).found is LookResult.NOTHING:
                    await trio.sleep(0.005)

        wakeups = Wakeups(dsn)
        if kind == "listening":
            await session.execute("listen sync_outbox")
        if kind == "gate":
            nursery.start_soon(wakeups.run, look)
        else:
            nursery.start_soon(poll)
        print("ready", flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)
        print(wakeups.counts["NOTIFIED"] if kind == "gate" else heard, flush=True)
        nursery.cancel_scope.cancel()


def measure(server: EmbeddedPostgres, set_up: str, clients: int, script: Path) -> tuple[float, float]:
    """Return commits per second and notifications heard per 1,000 commits."""
    trigger, kinds = SET_UPS[set_up]
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for name in ("always", WAKE):
            verb = "enable" if name == trigger else "disable"
            connection.execute(f"alter table sync_outbox {verb} trigger {name}".encode())
        connection.execute("truncate sync_outbox")
        connection.execute("checkpoint")
    consumers = [
        subprocess.Popen(
            [sys.executable, "-m", "benchmarks.writers", kind, server.url()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for kind in kinds
    ]
    for consumer in consumers:
        assert consumer.stdout
        consumer.stdout.readline()
    time.sleep(0.3)  # asleep, as a reactor with nothing to do is
    options = f"-n -M prepared -j 1 -T {SECONDS} -c {clients} -f {script}".split()
    pgbench = [str(server.bin_path / "pgbench"), *options, server.url()]
    output = subprocess.run(pgbench, check=True, capture_output=True, text=True).stdout
    rate = float(output.split("tps = ")[1].split()[0])
    heard = sum(int(consumer.communicate()[0]) for consumer in consumers)
    return rate, heard / (rate * SECONDS) * 1000


def main() -> None:
    """Run it and print the table."""
    rates: defaultdict[tuple[str, int], list[float]] = defaultdict(list)
    heard: Counter[tuple[str, int]] = Counter()
    with embedded_postgres({"fsync": "on", "full_page_writes": "on"}) as server, tempfile.TemporaryDirectory() as tmp:
        migrate(server.url(), progress=lambda _line: None)
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute(ALWAYS)
        script = Path(tmp) / "insert.sql"
        script.write_text(SCRIPT)
        for _ in range(ROUNDS):
            for clients in CLIENTS:
                for set_up in random.sample(list(SET_UPS), len(SET_UPS)):
                    rate, notifications = measure(server, set_up, clients, script)
                    rates[set_up, clients].append(rate)
                    heard[set_up, clients] += notifications / ROUNDS  # type: ignore[assignment]
    print(f"{'':22}" + "".join(f"{clients:>8} clients: commits/s, ratio, heard/1000" for clients in CLIENTS))
    for set_up in SET_UPS:
        cells = []
        for clients in CLIENTS:
            rate = statistics.median(rates[set_up, clients])
            # Rounds are compared pairwise: a noisy machine is noisy for all set-ups of a round.
            pairs = zip(rates[set_up, clients], rates["no trigger, polling", clients], strict=True)
            ratio = statistics.median(mine / base for mine, base in pairs)
            cells.append(f"{rate:>18,.0f}  {ratio:>10.2f} {heard[set_up, clients]:>12.1f}")
        print(f"{set_up:22}" + "".join(cells))


if __name__ == "__main__":
    trio.run(consume, sys.argv[1], sys.argv[2])
