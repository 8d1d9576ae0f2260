"""What happens to items, as lines of the log.

A dead letter is a warning, because a person may have to do something. Retries are logged at info because they need no
action. Completed items are logged at debug; metrics count them.
"""

import logging
from uuid import UUID

import structlog

from reactor.core.calendar.messages import Method
from reactor.core.dispatch.breaker import BreakerState
from reactor.core.item import Item, Settlement
from reactor.loop import Observer

log = structlog.get_logger(__name__)


class LogObserver(Observer):
    """Writes a line of the log for each thing that happens."""

    def requested(self, method: Method, code: str, seconds: float) -> None:
        """A request was answered, or was not."""
        log.debug("google_answered", method=method.value, code=code, seconds=round(seconds, 4))

    def ended(self, settlement: Settlement, *, seconds: float, written: bool) -> None:
        """What becomes of an item was written, or was not."""
        item = settlement.item
        if not written:
            log.warning("claim_lost", **_about(item))
            return
        if settlement.dead_token_version is not None:
            log.warning("connection_invalid", workspace_id=str(item.workspace_id), problem=settlement.last_error)
        match settlement.status:
            case "COMPLETED" if settlement.binding is not None and settlement.last_error is not None:
                log.warning("event_left_behind", **_about(item), problem=settlement.last_error)
            case "COMPLETED" | "PENDING" if not log.is_enabled_for(logging.DEBUG):
                pass  # thousands a second, and a line that is not wanted costs as much as one that is
            case "DEAD_LETTER":
                log.warning("dead_letter", **_about(item), code=settlement.failure_code, problem=settlement.last_error)
            case "FAILED":
                delay = round(settlement.delay, 3)
                say = log.info if settlement.attempts > item.attempts else log.debug
                say(
                    "item_failed",
                    **_about(item),
                    attempts=settlement.attempts,
                    delay=delay,
                    problem=settlement.last_error,
                )
            case "PENDING":
                log.debug("item_given_back", **_about(item), problem=settlement.last_error)
            case _:  # COMPLETED
                log.debug(
                    "item_completed", **_about(item), seconds=round(item.age + seconds, 4), code=settlement.failure_code
                )

    def breaker(self, workspace_id: UUID | None, before: BreakerState, after: BreakerState) -> None:
        """A breaker changed; a probe that met the same outage again is no news."""
        whose = {"scope": "process"} if workspace_id is None else {"scope": "lane", "workspace_id": str(workspace_id)}
        if after is BreakerState.CLOSED:
            log.info("breaker_closed", **whose)
        elif before is BreakerState.CLOSED:
            log.warning("breaker_opened", **whose)
        else:
            log.debug("breaker_probe_failed", **whose)

    def everybody_held(self, problem: str) -> None:
        """Google refuses the deployment, so somebody has to do something; told with each try, once a minute."""
        log.warning("everybody_held", problem=problem)

    def crashed(self, error: Exception) -> None:
        """A request, the handling of an item, or an observer met what it did not expect."""
        log.error("exchange_crashed", exc_info=error)


def _about(item: Item) -> dict[str, str]:
    return {"workspace_id": str(item.workspace_id), "item_id": str(item.id), "operation": item.operation}
