"""How requests leave: through which proxy, and which certificates are trusted, as the environment says.

We read the variables ourselves. httpx takes neither a range nor an IPv6 address in brackets in `NO_PROXY`, and a wrong
value ends in any kind of error. The variables mean what they mean to curl: `https_proxy` before `HTTPS_PROXY` before
`all_proxy`; in `NO_PROXY` a name is that host and those below it, `*` is every host, an address is itself, a range
(`10.0.0.0/8`, `fd00::/8`) is what lies in it, each also with a port. Requests to loopback never use a proxy.

`SSL_CERT_FILE` and `SSL_CERT_DIR` are OpenSSL's, `SSLKEYLOGFILE` is Python's.
"""

import ipaddress
import os
import re
import ssl
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import httpx

from reactor.errors import ConfigurationError

_HASHED = re.compile(r"[0-9a-f]{8}\.[0-9]+")
_BRACKETS = re.compile(r"\[([^]]*)\](/[0-9]+)?$")
_PORT = re.compile(r":[0-9]+$")
_A_PROXY = "it is http://host:port or https://host:port, with a user and a password escaped where it asks for them"


def network_problems(urls: Iterable[str], environment: Mapping[str, str] = os.environ) -> list[str]:
    """List what is wrong with the variables that decide how requests leave, a sentence for each.

    Args:
        urls: Where requests go to.
        environment: The variables.
    """
    # A URL that cannot be read is reported by its own setting.
    hosts = [url for text in urls if (url := read_url(text)) is not None]
    found = [*_tls_problems(environment)]
    proxied = [url for url in hosts if _variable(url.scheme, environment) and not is_loopback(url.host)]
    if proxied:
        found += _exception_problems(environment)
    for name in sorted({_variable(url.scheme, environment) for url in proxied if not _is_excepted(url, environment)}):
        found += _proxy_problems(name, environment[name])
    return found


def _tls_problems(environment: Mapping[str, str]) -> Iterator[str]:
    if (path := environment.get("SSL_CERT_FILE")) and not _holds_certificates(path):
        yield "SSL_CERT_FILE must name a file with certificates (PEM) that is there and can be read, or be unset."
    for path in (environment.get("SSL_CERT_DIR") or "").split(os.pathsep):
        if path and not _is_hashed(path):
            yield (
                "SSL_CERT_DIR must name a directory of certificates that was prepared with `openssl rehash`, or be "
                "unset."
            )
            break
    if (path := environment.get("SSLKEYLOGFILE")) and not os.access(Path(path).parent, os.W_OK):
        yield "SSLKEYLOGFILE must name a file in a directory that can be written, or be unset."


def _holds_certificates(path: str) -> bool:
    try:
        file = Path(path).stat()
    except (OSError, ValueError):
        return False
    return _was_read(path, file.st_dev, file.st_ino, file.st_ctime_ns, file.st_size)


@lru_cache(maxsize=8)
def _was_read(path: str, *version: int) -> bool:
    """Whether a file's certificates can be read: once for each version of it, because a start asks five times."""
    del version
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cafile=path)
    except (OSError, ValueError):  # ssl's error is an OSError
        return False
    return context.cert_store_stats()["x509"] > 0


def _is_hashed(path: str) -> bool:
    try:
        return any(_HASHED.fullmatch(each.name) for each in Path(path).iterdir())
    except (OSError, ValueError):
        return False


def _proxy_problems(name: str, value: str) -> Iterator[str]:
    scheme = value.partition("://")[0].lower() if "://" in value else "http"
    if scheme.startswith("socks"):
        yield (
            f"{name} is a socks proxy, which is not spoken here: give one that speaks HTTP (CONNECT), or list Google's "
            "hosts in NO_PROXY."
        )
        return
    url = read_url(value if "://" in value else f"http://{value}")
    if url is None or url.scheme not in ("http", "https") or not url.host or value != value.strip():
        yield f"{name} cannot be used: {_A_PROXY}."


def _exception_problems(environment: Mapping[str, str]) -> Iterator[str]:
    name = "no_proxy" if environment.get("no_proxy") else "NO_PROXY"
    for place, entry in enumerate(_exceptions(environment), 1):
        if "/" in entry and "://" not in entry and _range(entry) is None:
            yield f"{name} has an entry that is no range of addresses such as 10.0.0.0/8 or fd00::/8: number {place}."


def _variable(scheme: str, environment: Mapping[str, str]) -> str:
    """The variable that names the proxy for a scheme; empty where none does."""
    names = (f"{scheme}_proxy", f"{scheme}_proxy".upper(), "all_proxy", "ALL_PROXY")
    return next((name for name in names if environment.get(name)), "")


def _exceptions(environment: Mapping[str, str]) -> list[str]:
    return (environment.get("no_proxy") or environment.get("NO_PROXY") or "").replace(",", " ").split()


def _is_excepted(url: httpx.URL, environment: Mapping[str, str]) -> bool:
    host, port = url.host.lower().rstrip("."), url.port or {"https": 443, "http": 80}.get(url.scheme)
    return any(_covers(entry.lower(), host, port) for entry in _exceptions(environment))


def _covers(entry: str, host: str, port: int | None) -> bool:
    if entry == "*":
        return True
    if (network := _range(entry)) is None and (with_port := _PORT.search(entry)):
        if int(with_port[0][1:]) != port:
            return False
        entry = entry[: with_port.start()]
        network = _range(entry)
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = entry.partition("://")[2] or entry
        name = name.removeprefix("*").removeprefix(".")
        return bool(name) and (host == name or host.endswith(f".{name}"))
    return network is not None and address in network


def _range(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    """The addresses that an entry names, with or without brackets; None where it is a name."""
    try:
        return ipaddress.ip_network(_BRACKETS.sub(r"\1\2", entry), strict=False)
    except ValueError:
        return None


def read_url(text: str) -> httpx.URL | None:
    """Read a URL; None where it is none."""
    try:
        url = httpx.URL(text)
        bool(url.host)  # decoded only now
    except (httpx.InvalidURL, UnicodeError):
        return None
    return url


def proxy_for(url: httpx.URL, environment: Mapping[str, str] = os.environ) -> str | None:
    """The proxy for a URL; None for a direct connection."""
    name = _variable(url.scheme, environment)
    if not name or is_loopback(url.host) or _is_excepted(url, environment):
        return None
    return environment[name] if "://" in environment[name] else f"http://{environment[name]}"


def tls() -> ssl.SSLContext:
    """What certificates are checked with; expensive to make.

    Raises:
        ConfigurationError: The variables do not let it be made.
    """
    for problem in _tls_problems(os.environ):
        raise ConfigurationError(problem)
    return httpx.create_ssl_context()


def client_options(url: str) -> dict[str, Any]:
    """What to make an httpx client for a URL with.

    Raises:
        ConfigurationError: The variables do not let requests leave.
    """
    for problem in network_problems([url]):
        raise ConfigurationError(problem)
    target = httpx.URL(url)
    verify = tls() if target.scheme == "https" else False
    return {"trust_env": False, "verify": verify, "proxy": proxy_for(target)}


def why(error: httpx.HTTPError) -> str:
    """The reason of a failed request, in our words, because the library's text may contain the address."""
    return next((words for kind, words in _WHY if isinstance(error, kind)), "the connection broke")


_WHY: tuple[tuple[type[httpx.HTTPError] | tuple[type[httpx.HTTPError], ...], str], ...] = (
    (httpx.ProxyError, "the proxy refuses"),
    (httpx.ConnectError, "no connection"),
    (httpx.TimeoutException, "no answer in time"),
    ((httpx.ProtocolError, httpx.DecodingError), "an answer that cannot be read"),
)


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
