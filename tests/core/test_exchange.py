"""What the kind of a consent changes about an item's dialogue."""

import pytest

from reactor.core.backoff import HOLD_CAP
from reactor.core.calendar import answers
from reactor.core.calendar.exchange import exchange
from reactor.core.calendar.messages import PRIMARY
from reactor.core.calendar.token_answers import GrantType
from reactor.core.outcome import Retry, Scope
from tests.core.test_answers import refusal
from tests.core.test_exchange_fuzz import drive
from tests.support.dialogues import cancel_json, upsert_json, work


def test_a_service_account_writes_nothing_to_its_own_calendar_and_takes_away_what_is_there() -> None:
    written = upsert_json(calendar_id=PRIMARY)
    assert drive(exchange(work(written), GrantType.SERVICE_ACCOUNT), []) == answers.SERVICE_ACCOUNTS_PRIMARY
    for asks in (
        exchange(work(written), GrantType.DELEGATION),
        exchange(work(cancel_json(calendar_id=PRIMARY)), GrantType.SERVICE_ACCOUNT),
    ):
        assert next(asks).request.target.startswith("calendar/v3/calendars/primary/")


@pytest.mark.parametrize("grant", GrantType)
def test_a_project_that_google_refuses_is_the_deployments_or_the_workspaces_own(grant: GrantType) -> None:
    found = drive(exchange(work(upsert_json()), grant), [refusal(403, "accessNotConfigured")])
    assert isinstance(found, Retry)
    assert found.reason == answers.DISABLED.reason
    assert found.scope is (Scope.ALL if grant is GrantType.USER else Scope.LANE)
    assert grant is GrantType.USER or 0 <= (found.after or 0.0) <= HOLD_CAP
