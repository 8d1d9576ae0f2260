"""Logs what happens to items and workspaces.

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
from reactor.postgres.brakes import Pulled
from reactor.postgres.claim import SetAside
from reactor.postgres.order import Mended

log = structlog.get_logger(__name__)


class LogObserver(Observer):
    """Logs each event in one line. The level is looked up once, because thousands of items are completed a second."""

    def __init__(self) -> None:
        self._logs_completed = log.is_enabled_for(logging.DEBUG)

    def requested(self, method: Method, code: str, seconds: float) -> None:
        """Log a request to Google and its status code."""
        log.debug("google_answered", method=method.value, code=code, seconds=round(seconds, 4))

    def ended(self, settlement: Settlement, *, seconds: float, written: bool) -> None:
        """Log the outcome of an item, or that it was not written because the claim was lost."""
        item = settlement.item
        if not written:
            log.warning("claim_lost", **_about(item))
            return
        if settlement.dead_token_version is not None:
            log.warning("connection_invalid", workspace_id=str(item.workspace_id), problem=settlement.last_error)
        match settlement.status:
            case "COMPLETED" if settlement.binding is not None and settlement.last_error is not None:
                log.warning("event_left_behind", **_about(item), problem=settlement.last_error)
            case "COMPLETED" | "PENDING" if not self._logs_completed:
                pass  # to build a line and drop it costs as much as to write it
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
        """Log that a breaker changed; at debug where a probe found that the outage goes on."""
        whose = {"scope": "process"} if workspace_id is None else {"scope": "lane", "workspace_id": str(workspace_id)}
        if after is BreakerState.CLOSED:
            log.info("breaker_closed", **whose)
        elif before is BreakerState.CLOSED:
            log.warning("breaker_opened", **whose)
        else:
            log.debug("breaker_probe_failed", **whose)

    def everybody_held(self, problem: str) -> None:
        """Log that Google refuses the whole deployment, so an operator must act; once a minute."""
        log.warning("everybody_held", problem=problem)

    def crashed(self, error: Exception) -> None:
        """Log an unexpected error of a request, of the handling of an item, or of an observer."""
        log.error("exchange_crashed", exc_info=error)


def log_brake_pulled(pulled: Pulled) -> None:
    """Log that the brake stopped a workspace, and the command that releases it."""
    log.error(
        "brake_pulled",
        workspace_id=str(pulled.workspace_id),
        cause=pulled.cause,
        deletes=pulled.deletes,
        events=pulled.events,
        release=f"python -m reactor brake release --workspace {pulled.workspace_id}",
    )


def log_item_set_aside(item: SetAside) -> None:
    """Log that the database refuses to change an item, and for which constraint."""
    log.warning(
        "item_set_aside",
        item_id=str(item.id),
        workspace_id=str(item.workspace_id),
        sqlstate=item.sqlstate,
        constraint=item.constraint,
    )


def log_order_mended(mended: Mended) -> None:
    """Log that the database was behind what was sent before and was moved ahead; no action is needed."""
    log.warning("order_mended", cause=mended.cause, low=mended.low, high=mended.high)


def _about(item: Item) -> dict[str, str]:
    return {"workspace_id": str(item.workspace_id), "item_id": str(item.id), "operation": item.operation}
