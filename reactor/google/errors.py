"""What the side that faces Google raises."""

from reactor.core.outcome import Dead, Retry
from reactor.errors import ReactorError


class TokenUnavailable(ReactorError):  # noqa: N818 - a state, named as one
    """There is no access token; every item of the lane has the same outcome.

    Attributes:
        outcome: What that means for an item.
    """

    def __init__(self, outcome: Retry | Dead) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome
