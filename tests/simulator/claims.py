"""The claim in the model: what `sync_outbox_claim_next` does (db/migrations/0029_claim_next.sql)."""

import math
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from uuid import UUID

from reactor.core.item import Item, SourceState, WorkspaceConnection
from tests.simulator.stored import ASIDE, FREE_LOSSES, OPEN, REBUILD, WAITS, Claim, Row, Stored, payload_of


class Claims(Stored):
    """The tables, as a claim sees and changes them."""

    def claim(
        self,
        *,
        now: float,
        lease_no: int,
        slots: int,
        excluded: Collection[UUID],
        after: UUID | None,
        trial: UUID | None = None,
    ) -> Claim:
        """Claim; workspaces behind `after` come first. `trial`: where one is claimed that lost its worker thrice.

        Where a pass claims nothing but sets something aside, which is not chosen again, the next pass follows.
        """
        claim = Claim(stopped=frozenset(w for w, stop in self.brakes.items() if not stop.released))
        refusals = -1
        while not claim.rows and refusals != self.refusals.total():
            refusals = self.refusals.total()
            chosen: list[tuple[int, int, Row]] = []
            for place, workspace in enumerate(self._ring(now, after)):
                if workspace not in excluded and workspace not in claim.stopped and trial in (None, workspace):
                    self._supersede_and_choose(workspace, now, claim, chosen, place)
            chosen.sort(key=lambda each: (each[0], each[1]))
            self._take(chosen, claim, now=now, lease_no=lease_no, slots=slots, trial=trial is not None)
        claim.due_in = self._due_in(now, {*excluded, *claim.stopped})
        return claim

    @staticmethod
    def group(losses: int, slots: int, *, trial: bool) -> int:
        """How many that lost their worker so often may be claimed at once: ever fewer, at last one, and alone."""
        if trial or losses >= FREE_LOSSES:
            return int(trial and losses >= FREE_LOSSES)
        return max(1, slots >> (2 * losses)) if losses else slots

    def _take(
        self,
        chosen: list[tuple[int, int, Row]],
        claim: Claim,
        *,
        now: float,
        lease_no: int,
        slots: int,
        trial: bool,
    ) -> None:
        """Make rows PROCESSING: as many as there are slots, and few of those whose worker was lost."""
        lost: Counter[int] = Counter()
        for _, _, row in chosen:
            losses = min(row.losses, FREE_LOSSES)
            if row.operation == REBUILD and losses < FREE_LOSSES:
                losses = 0  # each is a request or two by itself, and is not counted among them
            lost[losses] += 1
            if lost[losses] > self.group(losses, slots, trial=trial) or len(claim.rows) >= slots:
                claim.left = True
                if losses >= FREE_LOSSES:
                    claim.trials.append(row.workspace)
                continue
            if self._is_set_aside(row, now):
                continue
            self._claims += 1
            row.status, row.claim_no, row.lease_no = "PROCESSING", self._claims, lease_no
            claim.rows.append(row)

    def _ring(self, now: float, after: UUID | None) -> list[UUID]:
        waiting = sorted({row.workspace for row in self.rows.values() if row.is_due(now)})
        live = [w for w in waiting if (c := self.connections.get(w)) is not None and c.valid]
        return [w for w in live if after is not None and w > after] + [w for w in live if after is None or w <= after]

    def _supersede_and_choose(
        self, workspace: UUID, now: float, claim: Claim, chosen: list[tuple[int, int, Row]], place: int
    ) -> None:
        mine = [row for row in self.rows.values() if row.workspace == workspace and row.status in OPEN]
        if not self._pass_rebuilds(workspace, mine, now, claim, chosen, place):
            return
        heads: dict[str, Row] = {}
        busy: set[str] = set()
        seen: dict[str, list[Row]] = {}
        for row in mine:
            if row.operation == REBUILD:
                continue
            key = row.key
            if row.status == "PROCESSING":
                busy.add(key)
            head = heads.get(key)
            if head is None or (row.seq, head.id) > (head.seq, row.id):
                heads[key] = row
            if row.is_due(now):
                seen.setdefault(key, []).append(row)
        turn = 0
        for key in sorted(seen, key=lambda key: (min(float(row.due or 0) for row in seen[key]), key)):
            floor, head = self._floor(workspace, key), heads[key]
            for row in seen[key]:
                if row.seq < floor:
                    claim.superseded += self._put_away(row, now)
            if (
                head.is_due(now)
                and head.seq >= floor
                and key not in busy
                and head.id not in self.locked
                and self.aside.get(head.id, -math.inf) <= now
            ):
                chosen.append((turn, place, head))
                turn += 1

    def _pass_rebuilds(
        self,
        workspace: UUID,
        mine: list[Row],
        now: float,
        claim: Claim,
        chosen: list[tuple[int, int, Row]],
        place: int,
    ) -> bool:
        """Look at the rebuilds of a workspace; say whether its other rows may be claimed."""
        rebuilds = [row for row in mine if row.operation == REBUILD]
        if not rebuilds:
            return True
        newest = max(rebuilds, key=lambda row: row.seq)
        floor = self._floor(workspace, REBUILD)
        for row in rebuilds:
            if row.status in WAITS and row.seq < floor:
                claim.superseded += self._put_away(row, now)
        if any(row.status == "PROCESSING" for row in rebuilds):
            return False
        if newest.seq < floor or newest.id in self.aside:
            return True
        if not newest.is_due(now):
            return True
        if newest.id not in self.locked and not any(row.status == "PROCESSING" for row in mine):
            chosen.append((0, place, newest))
        return False

    def _floor(self, workspace: UUID, key: str) -> int:
        source = self.sources.get((workspace, key))
        return source.memory.floor_seq if source else 0

    def _put_away(self, row: Row, now: float) -> int:
        if row.status not in WAITS or row.id in self.locked or self._is_set_aside(row, now):
            return 0
        row.status, row.code, row.error = "COMPLETED", "SUPERSEDED", None
        return 1

    def _is_set_aside(self, row: Row, now: float) -> bool:
        """Whether the row cannot be updated; that is tried now and then."""
        if now < self.aside.get(row.id, -math.inf):
            return True
        if row.refusal:
            self.refusals[row.id] += 1
            self.aside[row.id] = now + ASIDE * 2 ** min(self.refusals[row.id] - 1, 6)
            return True
        self.aside.pop(row.id, None)
        return False

    def _due_in(self, now: float, excluded: Collection[UUID]) -> float:
        times = [
            row.due
            for row in self.rows.values()
            if row.status in WAITS and row.due is not None and row.due > now and row.workspace not in excluded
        ]
        return min(times, default=math.inf) - now

    def has_due(self, now: float, excluded: Collection[UUID]) -> bool:
        """Whether something is due in a workspace that is not excluded."""
        stopped = {w for w, stop in self.brakes.items() if not stop.released}
        live = {w for w, c in self.connections.items() if c.valid} - stopped - set(excluded)
        return any(row.is_due(now) and row.workspace in live for row in self.rows.values())

    def item(self, row: Row, now: float, ceiling: int) -> Item:
        """What a claim says of a row."""
        source = self.sources.get((row.workspace, row.key if row.operation != REBUILD else REBUILD))
        memory = source.memory if source else SourceState()
        bound = self.bindings.get((row.workspace, row.key))
        if memory.event_id is None and not memory.cancelled and bound is not None and row.operation != REBUILD:
            memory = replace(memory, event_id=bound.event_id, calendar_id=bound.calendar_id)
        token = self.connections[row.workspace].token
        return Item(
            id=row.id,
            workspace_id=row.workspace,
            source_key=REBUILD if row.operation == REBUILD else row.key,
            seq=row.seq,
            claim_no=row.claim_no or 0,
            operation=row.operation,
            payload=payload_of(row),
            attempts=row.attempts,
            max_attempts=min(row.max_attempts, ceiling),
            age=now - row.created if math.isfinite(row.created) else 0.0,
            is_child=row.parent is not None,
            memory=memory,
            connection=WorkspaceConnection(token, token),
            lease_no=row.lease_no or 0,
            losses=row.losses,
        )
