"""What the kind of a consent changes about an item's dialogue."""

import pytest

from reactor.core import answers
from reactor.core.exchange import exchange
from reactor.core.guard import HOLD_CAP
from reactor.core.messages import PRIMARY
from reactor.core.outcome import Retry, Scope
from reactor.core.token_answers import Grant
from tests.core.test_answers import refusal
from tests.core.test_exchange_fuzz import drive
from tests.support.dialogues import cancel_json, upsert_json, work


def test_a_service_account_writes_nothing_to_its_own_calendar_and_takes_away_what_is_there() -> None:
    written = upsert_json(calendar_id=PRIMARY)
    assert drive(exchange(work(written), Grant.SERVICE_ACCOUNT), []) == answers.NOBODYS
    for asks in (
        exchange(work(written), Grant.DELEGATION),
        exchange(work(cancel_json(calendar_id=PRIMARY)), Grant.SERVICE_ACCOUNT),
    ):
        assert next(asks).request.target.startswith("calendar/v3/calendars/primary/")


@pytest.mark.parametrize("grant", Grant)
def test_a_project_that_google_refuses_is_the_deployments_or_the_workspaces_own(grant: Grant) -> None:
    found = drive(exchange(work(upsert_json()), grant), [refusal(403, "accessNotConfigured")])
    assert isinstance(found, Retry)
    assert found.reason == answers.DISABLED.reason
    assert found.scope is (Scope.ALL if grant is Grant.USER else Scope.LANE)
    assert grant is Grant.USER or 0 <= (found.after or 0.0) <= HOLD_CAP
