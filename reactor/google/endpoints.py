"""Where Google is, and who we are to it: addresses that secrets are sent to, and the OAuth client."""

from dataclasses import dataclass, field
from typing import Final

import httpx

from reactor.errors import ConfigurationError
from reactor.google.network import is_loopback, read_url

API_ROOT: Final = "https://www.googleapis.com/"
TOKEN_URI: Final = "https://oauth2.googleapis.com/token"  # noqa: S105
AUTH_URI: Final = "https://accounts.google.com/o/oauth2/v2/auth"
NO_CLIENT: Final = "none"
"""The OAuth client's id in a deployment that has service accounts only: to make a client takes a consent screen."""


@dataclass(frozen=True, slots=True)
class OAuthClient:
    """Our OAuth client, and the token endpoint's address.

    Attributes:
        id: The OAuth client's id, or NO_CLIENT.
        secret: Its secret.
        token_uri: The token endpoint.
    """

    id: str
    secret: str = field(repr=False)
    token_uri: str


def checked_url(api_root: str) -> httpx.URL:
    """Read a URL that secrets are sent to.

    Raises:
        ConfigurationError: It is not https, nor http on loopback.
    """
    root = read_url(api_root if api_root.endswith("/") else f"{api_root}/")
    if root is None:
        raise ConfigurationError("The API root is not a URL: give one such as https://www.googleapis.com/.")
    if root.query or root.fragment or root.userinfo or not root.host:
        raise ConfigurationError("The API root must have a host, and neither a user, a query nor a fragment.")
    if root.scheme != "https" and not (root.scheme == "http" and is_loopback(root.host)):
        raise ConfigurationError("The API root must be https; plain http is accepted for loopback only.")
    return root
