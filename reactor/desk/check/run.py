"""Checks everything that the service needs, and says for each problem what to do.

Nothing is changed and nothing is sent that counts. The settings come first, then the database
(`reactor.desk.check.database`, with the stored tokens in it), then Google (`reactor.desk.check.google`).
"""

from typing import Any

from reactor.desk.check import database, google
from reactor.desk.check.finding import CheckFinding, CheckVerdict, Findings, Given
from reactor.errors import ConfigurationError
from reactor.settings import Settings, unknown_variables


def findings(**given: Any) -> Findings:
    """Look at everything, one finding after the other.

    Args:
        given: Settings that are not taken from the environment, by their names; None for one that is.
    """
    yield from _settings(given)
    yield from database.findings(given)
    yield from google.findings(given)


def _settings(given: Given) -> Findings:
    try:
        Settings.from_environment(**given)
    except ConfigurationError as error:
        for line in str(error).splitlines():
            yield CheckFinding("settings", CheckVerdict.FAIL, line)
    else:
        yield CheckFinding("settings", CheckVerdict.OK, "all can be used")
    for sentence in unknown_variables():
        yield CheckFinding("settings", CheckVerdict.WARN, sentence)
