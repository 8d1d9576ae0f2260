"""Who does something on a page, and why."""

from reactor.console.page import PageRequest
from reactor.desk.acts import LONGEST_REASON, ActAuthor
from reactor.errors import ConfigurationError


def author(asked: PageRequest) -> ActAuthor:
    """Who asks for an act, with the reason that the form has.

    Raises:
        ConfigurationError: It has none, or one that is too long.
    """
    reason = asked.form.get("reason", "").strip()
    if not 0 < len(reason) <= LONGEST_REASON:
        raise ConfigurationError(
            f"An act needs a reason, of {LONGEST_REASON} characters at most: go back, and say why you do it."
        )
    return ActAuthor(asked.visitor.name, "console", reason)
