"""The console's settings, read from the environment as `reactor.settings` says."""

import getpass
import ipaddress
import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator

from reactor.console.visitors.access import LOOPBACK_NAMES, Network, VisitorRules
from reactor.errors import ConfigurationError
from reactor.settings import DatabaseSettings, LogSettings, parse_bind, reads_as

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110, 5.6.2
_HOST = re.compile(r"[a-z0-9._-]+|\[[0-9a-f:.]+\]")  # a name, in Punycode where it has other letters, or an address


def _check_header(text: str) -> None:
    if text and not _HEADER.fullmatch(text):
        raise ConfigurationError("must be the name of a header, such as X-Forwarded-Email")


def check_origin(text: str) -> None:
    """Check that it can be where people open the console, or is empty; raises ConfigurationError."""
    try:
        split = urlsplit(text)
        name = f"[{split.hostname}]" if ":" in (split.hostname or "") else split.hostname
        whole = f"{split.scheme}://{name}" + (f":{split.port}" if split.port is not None else "")
    except ValueError:  # a port that is none, or half a bracket
        split, whole, name = urlsplit(""), "", ""
    local = split.scheme == "http" and name in LOOPBACK_NAMES
    usual = whole.endswith({"https": ":443", "http": ":80"}.get(split.scheme, ":"))  # which browsers leave out
    is_host = name is not None and _HOST.fullmatch(name)
    if text and (whole != text or usual or not is_host or not (split.scheme == "https" or local)):
        raise ConfigurationError(
            "must be https, a host in small letters and a port where it is not the usual one, such as "
            "https://console.example.com, and nothing after it; plain http is accepted for loopback only"
        )


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(each) for each in _listed(text))


def _check_networks(text: str) -> None:
    try:
        networks = _networks(text)
    except ValueError:
        raise ConfigurationError("must be networks with commas between them, such as 10.1.2.0/24,fd00::/64") from None
    if any(network.prefixlen == 0 for network in networks):
        raise ConfigurationError("must be the proxy's own network, and not every address")


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]


def is_loopback(bind: str) -> bool:
    """Whether only this machine can connect to such an address."""
    host, _ = parse_bind(bind)
    return host == "localhost" or (host is not None and ipaddress.ip_address(host).is_loopback)


class ConsoleSettings(LogSettings, DatabaseSettings):
    """What can be set of `python -m reactor console`."""

    console_user_header: Annotated[str, reads_as(_check_header)] = ""
    """The header in which a proxy says who a person is, such as `X-Forwarded-Email`. With it the console asks for no
    key, and believes the proxy; without it, it listens on the loopback only"""

    console_groups_header: Annotated[str, reads_as(_check_header)] = ""
    """The header in which the proxy lists the person's groups, with commas between them: `X-Forwarded-Groups`"""

    console_operators: str = ""
    """The groups, with commas between them, whose members may act, as far as the database's login may. Who has come by
    the printed key may always"""

    console_words: str = ""
    """The groups, with commas between them, whose members may read texts of events, likewise"""

    console_trusted_proxies: Annotated[str, reads_as(_check_networks), Field(validate_default=True)] = ""
    """The networks from which the proxy connects, `10.1.2.0/24,…`. Its headers count only from there. Required with
    `CONSOLE_USER_HEADER`"""

    console_proxy_secret: SecretStr = SecretStr("")
    """What the proxy sends in the header `X-Console-Proxy-Secret`, where one is set: then its address alone is not
    enough"""

    console_origin: Annotated[str, reads_as(check_origin), Field(validate_default=True)] = ""
    """Where people open the console, `https://console.example.com`. Required with `CONSOLE_USER_HEADER`; without it,
    the address that is listened on. Plain http for loopback only"""

    console_bind: Annotated[str, reads_as(parse_bind)] = "127.0.0.1:8400"
    """The address and port of the console. Beyond the loopback only with `CONSOLE_USER_HEADER`; port 0 takes any free
    one"""

    console_name: Annotated[str, Field(max_length=40)] = ""
    """What this deployment is called, such as `production`: in the title and at the top of each page"""

    console_colour: Literal["grey", "blue", "green", "amber", "red", "violet"] = "grey"
    """The colour of that name: `grey`, `blue`, `green`, `amber`, `red` or `violet`"""

    @field_validator("console_trusted_proxies", "console_origin")
    @classmethod
    def _goes_with_the_proxy(cls, value: str, info: ValidationInfo) -> str:
        if not value and info.data.get("console_user_header"):
            raise ValueError("must be set where CONSOLE_USER_HEADER is")
        return value

    @field_validator("console_bind")
    @classmethod
    def _stays_at_home(cls, value: str, info: ValidationInfo) -> str:
        if not is_loopback(value) and not info.data.get("console_user_header"):
            raise ValueError(
                "must be on the loopback, such as 127.0.0.1:8400: beyond it a proxy has to say who a person is, so set "
                "CONSOLE_USER_HEADER, CONSOLE_TRUSTED_PROXIES and CONSOLE_ORIGIN"
            )
        return value

    @property
    def access(self) -> VisitorRules:
        """The rules for who may ask for what."""
        return VisitorRules(
            origin=self.console_origin,
            local_user=_local_user(),
            user_header=self.console_user_header.lower(),
            groups_header=self.console_groups_header.lower(),
            proxies=_networks(self.console_trusted_proxies),
            secret=self.console_proxy_secret.get_secret_value(),
            operators=frozenset(_listed(self.console_operators)),
            words=frozenset(_listed(self.console_words)),
        )


def _local_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return "operator"
