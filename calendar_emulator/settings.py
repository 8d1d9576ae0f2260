"""The emulator's switches."""

from dataclasses import dataclass


@dataclass(slots=True)
class Settings:
    """How the emulator behaves where the real service varies.

    Attributes:
        latency: Seconds that every request of the API takes before it is carried out; a batch takes them once.
        batch_limit: The largest number of parts in a batch.
        empty_pages: Whether every listing begins with an empty page, as the API allows itself.
        rotate: Whether a refresh also answers a new refresh token and kills the old one.
        token_lifetime: How long access tokens live, in seconds.
        deny_consent: Whether the person at the consent page says no.
    """

    latency: float = 0.0
    batch_limit: int = 1_000
    empty_pages: bool = False
    rotate: bool = False
    token_lifetime: float = 3_599.0
    deny_consent: bool = False
