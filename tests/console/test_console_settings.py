"""The console's settings are read whole or refused whole, in sentences; beyond the loopback it does not start open."""

import ipaddress

import pytest

from reactor.console.settings import ConsoleSettings, is_loopback
from reactor.errors import ConfigurationError
from tests.app.test_settings import OF_LIBRARIES

PROXY = {
    "CONSOLE_USER_HEADER": "X-Forwarded-Email",
    "CONSOLE_TRUSTED_PROXIES": "10.1.2.0/24, fd00::7",
    "CONSOLE_ORIGIN": "https://console.example.com",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*(name.upper() for name in ConsoleSettings.model_fields), *OF_LIBRARIES):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.internal/app")
    return monkeypatch


def read(monkeypatch: pytest.MonkeyPatch, **environment: str) -> ConsoleSettings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return ConsoleSettings.from_environment()


def problems(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        read(monkeypatch, **environment)
    return str(refused.value).splitlines()


def test_nothing_is_needed_but_the_database(environment: pytest.MonkeyPatch) -> None:
    settings = read(environment)
    assert settings.console_bind == "127.0.0.1:8400"
    assert not settings.access.is_behind_proxy
    assert settings.access.local_user != ""


@pytest.mark.parametrize(
    ("bind", "local"),
    [
        ("127.0.0.1:8400", True),
        ("127.8.8.8:80", True),
        ("localhost:0", True),
        ("[::1]:8400", True),
        ("*:8400", False),
        ("0.0.0.0:8400", False),
        ("[::]:8400", False),
        ("10.0.0.7:8400", False),
        ("[fe80::1]:8400", False),
    ],
)
def test_beyond_the_loopback_it_takes_a_proxy(environment: pytest.MonkeyPatch, bind: str, *, local: bool) -> None:
    assert is_loopback(bind) == local
    if local:
        assert read(environment, CONSOLE_BIND=bind).console_bind == bind
        return
    [problem] = problems(environment, CONSOLE_BIND=bind)
    assert problem.startswith("CONSOLE_BIND must be on the loopback")
    for absent in PROXY:
        some = {name: value for name, value in PROXY.items() if name != absent}
        assert problems(environment, CONSOLE_BIND=bind, **some)
        for name in some:
            environment.delenv(name)
    assert read(environment, CONSOLE_BIND=bind, **PROXY).access.is_behind_proxy


def test_the_rules_are_those_of_the_settings(environment: pytest.MonkeyPatch) -> None:
    more = {"CONSOLE_GROUPS_HEADER": "X-Groups", "CONSOLE_OPERATORS": "sre, oncall,", "CONSOLE_PROXY_SECRET": "hunter2"}
    rules = read(environment, **PROXY, **more).access
    assert (rules.user_header, rules.groups_header) == ("x-forwarded-email", "x-groups")
    assert rules.proxies == (ipaddress.ip_network("10.1.2.0/24"), ipaddress.ip_network("fd00::7/128"))
    assert (rules.operators, rules.words) == (frozenset({"sre", "oncall"}), frozenset())
    assert rules.secret == "hunter2"
    assert "hunter2" not in repr(rules)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        (
            "CONSOLE_ORIGIN",
            (
                *("http://console.example.com", "https://console.example.com/", "https://console.example.com/x"),
                *("https://Console.example.com", "https://console.example.com:443", "http://127.0.0.1:80"),
                *("https://u@console.example.com", "https://console.example.com:x", "https://", "console.example.com"),
                *("https://console.example.com:70000", "https://console.example.com?x", "https://cönsole.example.com"),
                *("https://[::1", "https://$(id)", "https://a;id", "https://a b", "https://a'b"),
                *("null", "*", "ftp://console.example.com", "https://console.example.com#x"),
            ),
        ),
        ("CONSOLE_TRUSTED_PROXIES", ("0.0.0.0/0", "::/0", "10.1.2.3/24", "proxy.internal", "10.0.0.0/33", "10.1.2.")),
        ("CONSOLE_USER_HEADER", ("X Forwarded", "X-Forwarded:", "ü")),
        ("CONSOLE_COLOUR", ("pink", "#fff")),
        ("CONSOLE_BIND", ("8400", "127.0.0.1", "console:8400", "127.0.0.1:70000")),
        ("CONSOLE_NAME", ("x" * 41,)),
    ],
)
def test_what_cannot_be_used_is_named_and_not_shown(
    environment: pytest.MonkeyPatch, name: str, values: tuple[str, ...]
) -> None:
    for value in values:
        found = problems(environment, **{**PROXY, name: value})
        assert [line for line in found if line.startswith(f"{name} ")], (name, value, found)
    assert "hunter2" not in "".join(problems(environment, **{**PROXY, name: "hunter2 " * 9}))


@pytest.mark.parametrize("origin", ["https://console.example.com:8443", "http://localhost:8400", "http://[::1]:9"])
def test_an_origin_may_have_a_port(environment: pytest.MonkeyPatch, origin: str) -> None:
    assert read(environment, CONSOLE_ORIGIN=origin).access.origin == origin
