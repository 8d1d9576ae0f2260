"""Who may ask the console for what: facts of a request in, a visitor or a refusal out.

**Host.** A page of a stranger can point its own name at our address (DNS rebinding), and the browser then takes it for
the same origin. So only names that are ours are answered, also for reading: those of the loopback and of the origin.

**Writes** are POST only, and a browser has to say that the form is ours, twice: `Sec-Fetch-Site: same-origin`, which no
page can forge, and an `Origin` that is ours. Where a header is absent the request is refused. Browsers leave
`Sec-Fetch-Site` out on plain http beyond the loopback, so there it needs https. There is no token and no session.

**Identity.** On the loopback a person has a key, which the console has printed, and after it a cookie. Other users of
the machine can connect too, but do not have it. Behind a proxy the proxy's headers say who it is. They count only from
its addresses, and with its secret where one is set. Elsewhere they are not looked at.

A header that comes twice is refused: two programs in a row may each believe another one of them.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hmac import compare_digest

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Headers = Mapping[str, Sequence[str]]
"""Every value of each header, by its name in lower case."""

PROXY_HEADER = "x-console-proxy-secret"
LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]"})
READS = ("GET", "HEAD")
_LONGEST_NAME = 320  # characters; an address of mail has no more
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page.

    Attributes:
        name: As the proxy has it, or the operating system's user.
        may_act: Whether they may change something, as far as the database's login may.
        may_read_words: Whether they may read texts of events, likewise.
    """

    name: str
    may_act: bool = False
    may_read_words: bool = False


@dataclass(frozen=True, slots=True)
class AccessRefusal:
    """Why a request is not answered.

    Attributes:
        status: The status code.
        sentence: What to do, for a person.
    """

    status: int
    sentence: str


@dataclass(frozen=True, slots=True)
class AccessRequest:
    """What is known of a request.

    Attributes:
        method: Its method.
        is_open: Whether its path is shown to everyone who may connect.
        headers: Its headers.
        peer: The address that it came from, "" where that is not known.
        has_cookie: Whether it has a cookie that was given for a key.
    """

    method: str
    headers: Headers
    peer: str
    is_open: bool = False
    has_cookie: bool = False


@dataclass(frozen=True, slots=True)
class VisitorRules:
    """What a deployment has set.

    Attributes:
        origin: Where people see the console, `https://console.example.com`; "" for the loopback's own address.
        local_user: Who it is on the loopback.
        user_header: The header with a person's name, in lower case; "" without a proxy.
        groups_header: The header with their groups; "" for none.
        proxies: The addresses of the proxy.
        secret: What the proxy sends in `X-Console-Proxy-Secret`; "" for nothing.
        operators: The groups that may act.
        words: The groups that may read texts of events.
    """

    origin: str = ""
    local_user: str = "operator"
    user_header: str = ""
    groups_header: str = ""
    proxies: tuple[Network, ...] = ()
    secret: str = field(default="", repr=False)
    operators: frozenset[str] = frozenset()
    words: frozenset[str] = frozenset()

    @property
    def is_behind_proxy(self) -> bool:
        """Whether a proxy says who a person is."""
        return bool(self.user_header)


def admit(rules: VisitorRules, request: AccessRequest) -> Visitor | AccessRefusal | None:
    """Decide about a request.

    Returns:
        The visitor; the refusal; None for a page that is open and a visitor who is not known.
    """
    refusal = _wrong_host(rules, request) or _wrong_method(request) or _foreign(rules, request) or _no_form(request)
    if refusal:
        return refusal
    found = _by_proxy(rules, request) if rules.is_behind_proxy else _by_cookie(rules, request)
    return None if request.is_open and isinstance(found, AccessRefusal) else found


def _wrong_host(rules: VisitorRules, request: AccessRequest) -> AccessRefusal | None:
    ours = LOOPBACK_NAMES | {_host_name(rules.origin.partition("://")[2])}
    given = _only(request.headers, "host")
    if given and _host_name(given) in ours:
        return None
    return AccessRefusal(400, "The console does not answer to this name: open it by the address in CONSOLE_ORIGIN.")


def _wrong_method(request: AccessRequest) -> AccessRefusal | None:
    if request.method in READS or request.method == "POST":
        return None
    return AccessRefusal(405, "A page is read with GET, and an act is done with POST: use one of them.")


def _no_form(request: AccessRequest) -> AccessRefusal | None:
    if request.method in READS:
        return None
    kind = _only(request.headers, "content-type").partition(";")[0].strip().lower()
    return None if kind == _FORM else AccessRefusal(415, "An act is a form of its page: send it from there.")


def _foreign(rules: VisitorRules, request: AccessRequest) -> AccessRefusal | None:
    """Why what another site has begun is refused: each form, and each look that is no visit to a page."""
    site = _only(request.headers, "sec-fetch-site")
    if request.method in READS:
        visits = _only(request.headers, "sec-fetch-mode") in ("", "navigate")
        if visits or site in ("same-origin", "none"):
            return None
        return AccessRefusal(403, "Another site may not read the console: open the page itself.")
    if "sec-fetch-site" not in request.headers:
        return AccessRefusal(
            403, "The browser does not say where the form comes from: use https, and a browser of these years."
        )
    ours = rules.origin or f"http://{_only(request.headers, 'host')}"
    if site != "same-origin" or _only(request.headers, "origin") != ours:
        return AccessRefusal(
            403, "The form comes from another site: open the page itself, by the address in CONSOLE_ORIGIN."
        )
    return None


def _by_cookie(rules: VisitorRules, request: AccessRequest) -> Visitor | AccessRefusal:
    if request.has_cookie:
        return Visitor(rules.local_user, may_act=True, may_read_words=True)
    return AccessRefusal(401, "The console does not know this browser: open the link that it has printed last.")


def _by_proxy(rules: VisitorRules, request: AccessRequest) -> Visitor | AccessRefusal:
    if not _is_proxy(rules, request.peer):
        return AccessRefusal(401, "The console is used by way of its proxy: open it by the address in CONSOLE_ORIGIN.")
    given = _only(request.headers, PROXY_HEADER)
    if rules.secret and not compare_digest(given.encode(), rules.secret.encode()):
        return AccessRefusal(401, "The proxy does not have the secret: set CONSOLE_PROXY_SECRET and the proxy alike.")
    name = _only(request.headers, rules.user_header)
    if not (name and name.isprintable() and len(name) <= _LONGEST_NAME):
        return AccessRefusal(401, "The proxy does not say who you are: look at CONSOLE_USER_HEADER and at the proxy.")
    listed = _only(request.headers, rules.groups_header) if rules.groups_header else ""
    groups = {each.strip() for each in listed.split(",")}
    return Visitor(name, may_act=bool(groups & rules.operators), may_read_words=bool(groups & rules.words))


def _is_proxy(rules: VisitorRules, peer: str) -> bool:
    try:
        address = ipaddress.ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    plain = getattr(address, "ipv4_mapped", None) or address  # of a socket that serves both families
    return any(plain in network for network in rules.proxies)


def _only(headers: Headers, name: str) -> str:
    """The value of a header that came once; otherwise nothing."""
    values = headers.get(name, ())
    return values[0].strip() if len(values) == 1 else ""


def _host_name(text: str) -> str:
    """A host without its port, in lower case."""
    name, colon, port = text.rpartition(":")
    return (name if colon and port.isdecimal() else text).lower()
