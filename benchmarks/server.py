"""Where the server's CPU goes in a claim and in a settle, of one item, of 50 and of 200.

*A claim* by its steps: the function's text with the time noted between them (under a name of its own; time and not CPU,
so the lowest tenth of SERVER_ROUNDS times four calls), and what is left of the CPU of the whole call: the call itself
with its settings, the report, the commit, and the way to the client. *A settle* by its parts: the statement without its
last ones, by turns with the whole, in CPU of the server; each part is what it takes more. Four workspaces, items that
are new to their sources.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.string import ByteaBinaryLoader
from pydantic_core import to_json

from benchmarks.claims import CONNECT, OTHERS, TOP_UP, done, emptied
from reactor.postgres import settling
from reactor.postgres.claim import _item
from reactor.postgres.setup.embedded import embedded_postgres
from reactor.postgres.statements import statements

ROUNDS = int(os.environ.get("SERVER_ROUNDS", "60"))

# A step ends before this text of the function.
STEPS = {
    "  moment := clock_timestamp();": "",
    "  if workspaces is null then": "the brakes, what is set aside, rebuilds",
    "  page_rows := greatest(8": "",
    "  if page.large_ones is not null": "the page of due rows",
    "    heads := public.": "",
    "    reached := reached + portion;": "their sources: newest state, floor, in hand",
    "    got := public.sync_outbox_reserve": "",
    "    chosen := chosen || got.locked;": "the locks of the rows and of the items",
    "  if chosen <> '{}' then\n    if furthest": "",
    "  -- What is set aside, and is not any more.": "the UPDATE",
    "  return query": "",
    "  payload := jsonb_build_object(\n    'ring'": "the rows that are returned",
}
# A part of the settle, and where the statement goes on without it.
PARTS = {"sync_outbox, and the commit": "), remembered as", "sync_sources": "), bound as", "bindings": "), unbound as"}
SETTINGS = ("enable_seqscan", "enable_bitmapscan", "enable_hashjoin", "enable_mergejoin", "jit")
_SQL = statements("outbox")


class Backend:
    """A session with the settings of ours that settle and claim."""

    def __init__(self, dsn: str) -> None:
        self._connection = psycopg.connect(dsn, autocommit=True)
        self._connection.adapters.register_loader("jsonb", ByteaBinaryLoader)  # as the reactor does
        for name in SETTINGS:
            self._connection.execute(f"set {name} = off".encode())
        self._connection.execute("set plan_cache_mode = force_generic_plan")
        self._cpu: list[float] = []

    def run(self, statement: str, params: dict[str, Any]) -> list[tuple[Any, ...]]:
        """Run a statement; note the CPU of the server."""
        before = self._microseconds()
        rows = self._connection.execute(statement.encode(), params, prepare=True, binary=True).fetchall()
        self._cpu.append(self._microseconds() - before)
        return rows

    def _microseconds(self) -> float:
        return int(Path(f"/proc/{self._connection.info.backend_pid}/schedstat").read_text().split()[0]) / 1000

    @property
    def cost(self) -> float:
        return lowest_tenth(self._cpu)


def lowest_tenth(of: list[float]) -> float:
    """The lowest tenth, as others share the machine; the first ones make plans."""
    return sorted(of[8:])[len(of[8:]) // 10]


def in_steps(owner: psycopg.Connection[Any]) -> None:
    """Make the claim anew as `sync_outbox_claim_steps`, with the time noted between its steps."""
    [[text]] = owner.execute("select pg_get_functiondef('sync_outbox_claim_next'::regproc)").fetchall()
    text = text.replace("claim_next", "claim_steps").replace(
        "  stopped uuid[];\n", "  stopped uuid[]; at timestamptz[] := '{}';\n"
    )
    for place in STEPS:
        before, found, after = text.partition(place)
        if not found:
            raise LookupError(place)
        text = f"{before}  at := at || clock_timestamp();\n{found}{after}"
    told = "(select jsonb_agg(date_part('epoch', a.t) * 1e6 order by a.n) from unnest(at) with ordinality as a (t, n))"
    owner.execute(text.replace("    'stopped', stopped,", f"    'at', {told},\n    'stopped', stopped,").encode())


def parts() -> Iterator[tuple[str, str]]:
    """Settles that do less, from what reads the input only to the whole."""
    whole = _SQL["settle"]
    read = whole.partition("), settled as")[0]
    yield "the input, which is JSON", f"{read}) select id from input"
    for name, end in PARTS.items():
        before = whole.partition(end)[0]
        yield name, f"{before}) select id from settled"
    yield "bindings that are removed (none)", whole


def main() -> None:
    with embedded_postgres({"autovacuum": "off", "fsync": "on"}) as server:
        dsn = emptied(server, "server")
        with psycopg.connect(dsn, autocommit=True) as owner:
            owner.execute(CONNECT)
            in_steps(owner)
            workspaces = [w for (w,) in owner.execute(OTHERS + " order by workspace_id limit 4")]
            for slots in (1, 50, 200):
                bench(dsn, owner, workspaces, slots)


def bench(dsn: str, owner: psycopg.Connection[Any], workspaces: list[UUID], slots: int) -> None:
    claims, plain = Backend(dsn), Backend(dsn)
    settles = {name: (Backend(dsn), statement) for name, statement in parts()}
    steps: dict[str, list[float]] = defaultdict(list)
    params = {
        "workspaces": workspaces,
        "cursors": None,
        "past": None,
        "width": len(workspaces),
        "excluded": [],
        "slots": slots,
        "due_rows": 2 * slots,
        "key_rows": 512,
        "ceiling": 5,
        "lease": 1,
        "trial": False,
        "bytes": 8_000_000,
        "largest": 262_144,
    }
    for turn in range(8 + ROUNDS):
        for name, (backend, statement) in settles.items():
            owner.execute(TOP_UP, {"workspaces": workspaces, "slots": slots, "ago": 0})
            is_noted = name != next(iter(settles))
            call = _SQL["claim"].replace("claim_next", "claim_steps") if is_noted else _SQL["claim"]
            *rows, report = (claims if is_noted else plain).run(call, params)
            if is_noted:
                at = json.loads(report[5][1:])["at"]
                for step, began, ended in zip(list(STEPS.values())[1:], at, at[1:], strict=False):
                    steps[step].append(ended - began)
            ends = [done(_item(row, 1)) for row in sorted(rows, key=lambda row: row[0].int)]
            document = to_json([settling._input(end) for end in ends]).decode()  # noqa: SLF001 - what a settle sends
            backend.run(statement, {"input": document})
            owner.execute("update sync_outbox set status = 'COMPLETED', lease_no = null where status = 'PROCESSING'")
        if turn % 10 == 9:
            owner.execute("vacuum sync_outbox, sync_sources, calendar_event_bindings")
    found = {step: lowest_tenth(of) for step, of in steps.items() if step}
    found["the call and its settings, the report, the commit, the way"] = plain.cost - sum(found.values())
    print(f"a claim of {slots:3}: {plain.cost / slots:7.1f} us of CPU an item")
    for step, cost in found.items():
        print(f"    {cost / slots:7.1f}  {step}")
    costs = [(name, backend.cost) for name, (backend, _) in settles.items()]
    print(f"a settle of {slots:3}: {costs[-1][1] / slots:6.1f} us of CPU an item")
    for (name, cost), (_, less) in zip(costs, [("", 0.0), *costs], strict=False):
        print(f"    {(cost - less) / slots:7.1f}  {name}")


if __name__ == "__main__":
    main()
