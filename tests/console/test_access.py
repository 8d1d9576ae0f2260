"""Who may ask the console for what: every rule has a row, and what is drawn at random meets no gap."""

import ipaddress
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from reactor.console.visitors.access import AccessRefusal, AccessRequest, Headers, Visitor, VisitorRules, admit

LOOPBACK = VisitorRules(local_user="ada")
PROXIED = VisitorRules(
    origin="https://console.example.com",
    user_header="x-forwarded-email",
    groups_header="x-forwarded-groups",
    proxies=(ipaddress.ip_network("10.1.2.0/24"), ipaddress.ip_network("fd00::/64")),
    operators=frozenset({"oncall", "sre"}),
    words=frozenset({"support"}),
)
SECRET = replace(PROXIED, secret="s3cret")
HOST = {"host": ["127.0.0.1:8400"]}
PUBLIC = {"host": ["console.example.com"], "x-forwarded-email": ["ada@example.com"]}
OURS = {
    "sec-fetch-site": ["same-origin"],
    "origin": ["http://127.0.0.1:8400"],
    "content-type": ["application/x-www-form-urlencoded"],
}
PUBLIC_OURS = {**OURS, "origin": ["https://console.example.com"]}


def get(headers: Headers, **more: object) -> AccessRequest:
    return AccessRequest(**{"method": "GET", "headers": headers, "peer": "127.0.0.1", "has_cookie": True, **more})  # type: ignore[arg-type]


def status(rules: VisitorRules, request: AccessRequest) -> int:
    found = admit(rules, request)
    return found.status if isinstance(found, AccessRefusal) else 200


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        (["127.0.0.1:8400"], 200),
        (["localhost:8400"], 200),
        (["LOCALHOST"], 200),
        (["[::1]:8400"], 200),
        (["[::1]"], 200),
        (["evil.example"], 400),
        (["evil.example:8400"], 400),
        (["127.0.0.1.evil.example"], 400),
        (["localhost.evil.example:8400"], 400),
        (["evil.example:127.0.0.1"], 400),
        (["127.0.0.1:8400", "evil.example"], 400),
        (["127.0.0.1:8400", "127.0.0.1:8400"], 400),
        (["127.0.0.1:x"], 400),
        (["127.0.0.2"], 400),
        (["::1"], 400),
        ([""], 400),
        ([], 400),
    ],
)
def test_a_host_that_is_not_ours_is_refused_also_for_reading(host: list[str], expected: int) -> None:
    assert status(LOOPBACK, get({"host": host})) == expected
    assert status(LOOPBACK, get({"host": host}, is_open=True)) == expected


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        (OURS, 200),
        ({**OURS, "content-type": ["application/x-www-form-urlencoded; charset=utf-8"]}, 200),
        ({**OURS, "sec-fetch-site": ["cross-site"]}, 403),
        ({**OURS, "sec-fetch-site": ["same-site"]}, 403),
        ({**OURS, "sec-fetch-site": ["none"]}, 403),
        ({**OURS, "sec-fetch-site": [""]}, 403),
        ({**OURS, "sec-fetch-site": ["same-origin", "same-origin"]}, 403),
        ({**OURS, "origin": ["null"]}, 403),
        ({**OURS, "origin": ["http://evil.example"]}, 403),
        ({**OURS, "origin": ["http://127.0.0.1:9999"]}, 403),
        ({**OURS, "origin": ["https://127.0.0.1:8400"]}, 403),
        ({**OURS, "origin": ["http://localhost:8400"]}, 403),
        ({**OURS, "origin": ["http://127.0.0.1:8400", "http://evil.example"]}, 403),
        ({**OURS, "content-type": ["application/json"]}, 415),
        ({**OURS, "content-type": ["text/plain"]}, 415),
        ({**OURS, "content-type": ["multipart/form-data"]}, 415),
        *(({name: value for name, value in OURS.items() if name != absent}, 403) for absent in list(OURS)[:2]),
        ({name: value for name, value in OURS.items() if name != "content-type"}, 415),
    ],
)
def test_a_form_has_to_be_ours(headers: Headers, expected: int) -> None:
    assert status(LOOPBACK, get({**HOST, **headers}, method="POST")) == expected


def test_a_form_has_to_come_from_the_origin_where_one_is_set() -> None:
    def posted(origin: str) -> int:
        request = get({**PUBLIC, **OURS, "origin": [origin]}, method="POST", peer="10.1.2.3")
        return status(PROXIED, request)

    assert posted("https://console.example.com") == 200
    assert posted("http://console.example.com") == posted("https://console.example.com:444") == 403
    assert posted("http://127.0.0.1:8400") == 403


def test_an_absent_header_is_told_apart_from_a_wrong_one() -> None:
    def sentence(site: dict[str, list[str]]) -> str:
        headers = {**HOST, **{name: value for name, value in OURS.items() if name != "sec-fetch-site"}, **site}
        found = admit(LOOPBACK, get(headers, method="POST"))
        assert isinstance(found, AccessRefusal)
        return found.sentence

    assert "use https" in sentence({})
    assert "another site" in sentence({"sec-fetch-site": ["cross-site"]})


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "CONNECT", "PROPFIND", "get", ""])
def test_other_methods_are_refused(method: str) -> None:
    assert status(LOOPBACK, get({**HOST, **OURS}, method=method)) == 405


@pytest.mark.parametrize(
    ("site", "mode", "expected"),
    [
        ("none", "navigate", 200),  # typed, or out of a terminal
        ("cross-site", "navigate", 200),  # a link in a chat
        ("same-origin", "cors", 200),  # the page renews itself
        ("same-origin", "no-cors", 200),
        ("cross-site", "no-cors", 403),
        ("cross-site", "cors", 403),
        ("same-site", "no-cors", 403),
        ("cross-site", "websocket", 403),
    ],
)
def test_another_site_may_lead_to_a_page_and_not_load_it(site: str, mode: str, expected: int) -> None:
    assert status(LOOPBACK, get({**HOST, "sec-fetch-site": [site], "sec-fetch-mode": [mode]})) == expected


def test_on_the_loopback_it_takes_the_cookie_and_no_header() -> None:
    assert admit(LOOPBACK, get(HOST)) == Visitor("ada", may_act=True, may_read_words=True)
    spoofed = {**HOST, "x-forwarded-email": ["eve@example.com"], "x-forwarded-groups": ["sre"]}
    assert status(LOOPBACK, get(spoofed, has_cookie=False)) == 401
    assert admit(LOOPBACK, get(spoofed)) == Visitor("ada", may_act=True, may_read_words=True)


@pytest.mark.parametrize(
    ("peer", "headers", "expected"),
    [
        ("10.1.2.3", {}, 200),
        ("::ffff:10.1.2.3", {}, 200),
        ("fd00::7", {}, 200),
        ("fd00::7%eth0", {}, 200),
        ("10.1.3.3", {}, 401),
        ("127.0.0.1", {}, 401),
        ("", {}, 401),
        ("10.1.2.3", {"x-forwarded-email": []}, 401),
        ("10.1.2.3", {"x-forwarded-email": [""]}, 401),
        ("10.1.2.3", {"x-forwarded-email": ["a@x", "b@x"]}, 401),
        ("10.1.2.3", {"x-forwarded-email": ["a\x1b[31m@x"]}, 401),
        ("10.1.2.3", {"x-forwarded-email": ["a" * 321]}, 401),
    ],
)
def test_a_proxys_headers_count_only_from_its_addresses(peer: str, headers: Headers, expected: int) -> None:
    request = get({**PUBLIC, **headers}, peer=peer, has_cookie=True)
    assert status(PROXIED, request) == expected
    assert status(PROXIED, replace(request, is_open=True)) == 200, "an open page asks for nothing"


@pytest.mark.parametrize(
    ("given_secret", "expected"), [(["s3cret"], 200), ([], 401), ([""], 401), (["s3cret", "s3cret"], 401), (["ß"], 401)]
)
def test_the_secret_counts_beside_the_address(given_secret: list[str], expected: int) -> None:
    headers = {**PUBLIC, "x-console-proxy-secret": given_secret}
    assert status(SECRET, get(headers, peer="10.1.2.3")) == expected
    assert status(SECRET, get(headers, peer="10.9.9.9")) == 401


@pytest.mark.parametrize(
    ("groups", "acts", "words"),
    [
        ([], False, False),
        (["dev"], False, False),
        (["dev, sre"], True, False),
        (["oncall,support"], True, True),
        (["support"], False, True),
        (["sre-readers"], False, False),
        (["sre", "dev"], False, False),  # twice: two programs in a row may each believe another one
    ],
)
def test_groups_say_what_a_person_may(*, groups: list[str], acts: bool, words: bool) -> None:
    found = admit(PROXIED, get({**PUBLIC, "x-forwarded-groups": groups}, peer="10.1.2.3"))
    assert found == Visitor("ada@example.com", may_act=acts, may_read_words=words)


def test_without_a_header_of_groups_nobody_may_act() -> None:
    rules = replace(PROXIED, groups_header="")
    found = admit(rules, get({**PUBLIC, "x-forwarded-groups": ["sre"], "": ["sre"]}, peer="10.1.2.3"))
    assert found == Visitor("ada@example.com")


NAMES = ("host", "origin", "sec-fetch-site", "sec-fetch-mode", "content-type", "x-forwarded-email", "cookie")
VALUES = st.sampled_from(
    (
        *("127.0.0.1:8400", "console.example.com", "evil.example", "http://127.0.0.1:8400", "null", "same-origin"),
        *("https://console.example.com", "cross-site", "none", "navigate", "cors", "a@x", ""),
        "application/x-www-form-urlencoded",
    )
) | st.text(max_size=12)


@given(
    rules=st.sampled_from((LOOPBACK, PROXIED, SECRET)),
    method=st.sampled_from(("GET", "HEAD", "POST", "PUT")) | st.text(max_size=6),
    headers=st.dictionaries(
        st.sampled_from((*NAMES, "x-forwarded-groups", "x-console-proxy-secret")), st.lists(VALUES, max_size=2)
    ),
    peer=st.sampled_from(("127.0.0.1", "10.1.2.3", "10.1.3.3", "fd00::1", "")) | st.text(max_size=8),
    is_open=st.booleans(),
    has_cookie=st.booleans(),
)
def test_whoever_is_let_in_has_shown_all_that_it_takes(
    *, rules: VisitorRules, method: str, headers: dict[str, list[str]], peer: str, is_open: bool, has_cookie: bool
) -> None:
    request = AccessRequest(method, headers, peer, is_open=is_open, has_cookie=has_cookie)
    found = admit(rules, request)
    if isinstance(found, AccessRefusal):
        assert found.status in (400, 401, 403, 405, 415)
        return
    [host] = headers["host"]
    assert "evil" not in host
    if method not in ("GET", "HEAD"):
        assert method == "POST"
        assert headers["sec-fetch-site"] == ["same-origin"] or headers["sec-fetch-site"][0].strip() == "same-origin"
        assert headers["origin"][0].strip() == (rules.origin or f"http://{host.strip()}")
    if found is None:
        assert is_open
    elif rules.is_behind_proxy:
        assert peer in ("10.1.2.3", "fd00::1") or "10.1.2." in peer or peer.startswith("fd00:")
        assert headers["x-forwarded-email"][0].strip() == found.name
        assert not rules.secret or headers["x-console-proxy-secret"][0].strip() == rules.secret
    else:
        assert has_cookie
