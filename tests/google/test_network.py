"""Which way requests leave, and what is said where the environment leaves none."""

import os
import ssl
from pathlib import Path

import httpx
import pytest

from reactor.errors import ConfigurationError
from reactor.google.network import client_options, network_problems, proxy_for, tls

GOOGLE = "https://www.googleapis.com/"
PROXY = "http://proxy.example.com:3128"


@pytest.mark.parametrize(
    ("exceptions", "url", "proxy"),
    [
        ("", "https://a.example.com/", PROXY),
        ("*", "https://a.example.com/", None),
        ("example.com", "https://a.example.com/", None),
        (".example.com", "https://a.example.com/", None),
        ("*.example.com", "https://a.example.com/", None),
        ("EXAMPLE.com.", "https://a.example.com/", PROXY),
        ("ample.com", "https://a.example.com/", PROXY),
        ("other.com, a.example.com", "https://a.example.com/", None),
        ("a.example.com:443", "https://a.example.com/", None),
        ("a.example.com:8443", "https://a.example.com/", PROXY),
        ("https://a.example.com", "https://a.example.com/", None),
        ("[::1],fd02::/48", "https://[fd02::7]/", None),
        ("fd02::/48", "https://[fd03::7]/", PROXY),
        ("[fd02::7]", "https://[fd02::7]/", None),
        ("fd02::7", "https://[fd02::7]/", None),
        ("[fd02::7]:443", "https://[fd02::7]/", None),
        ("[fd02::7]:444", "https://[fd02::7]/", PROXY),
        ("[fd02::]/48", "https://[fd02::7]/", None),
        ("10.0.0.0/8", "https://10.1.2.3/", None),
        ("10.1.2.0/24", "https://10.1.3.3/", PROXY),
        ("10.1.2.3", "https://10.1.2.3/", None),
        ("10.1.2.3:443", "https://10.1.2.3/", None),
        ("[::1]", "https://a.example.com/", PROXY),
        ("fd02::/48", "https://10.1.2.3/", PROXY),
        ("-,:,[,//", "https://a.example.com/", PROXY),
    ],
)
def test_what_passes_by_the_proxy(exceptions: str, url: str, proxy: str | None) -> None:
    variables = {"HTTPS_PROXY": PROXY, "NO_PROXY": exceptions}
    assert proxy_for(httpx.URL(url), variables) == proxy


def test_which_proxy() -> None:
    google = httpx.URL(GOOGLE)
    assert proxy_for(google, {}) is None
    assert proxy_for(google, {"HTTP_PROXY": PROXY}) is None
    assert proxy_for(google, {"ALL_PROXY": "http://all:1", "HTTPS_PROXY": "http://upper:1"}) == "http://upper:1"
    assert proxy_for(google, {"HTTPS_PROXY": "http://upper:1", "https_proxy": "http://lower:1"}) == "http://lower:1"
    assert proxy_for(google, {"ALL_PROXY": "proxy.example.com:3128"}) == PROXY
    assert proxy_for(httpx.URL("http://[::1]:8085/"), {"ALL_PROXY": PROXY}) is None


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"ALL_PROXY": "socks5://me:hunter2@127.0.0.1:1080"}, "ALL_PROXY is a socks proxy, which is not spoken here"),
        ({"https_proxy": "SOCKS5H://127.0.0.1"}, "https_proxy is a socks proxy"),
        ({"HTTPS_PROXY": "ftp://hunter2:1"}, "HTTPS_PROXY cannot be used: it is http://host:port"),
        ({"HTTPS_PROXY": "http://me:hunter2@"}, "HTTPS_PROXY cannot be used"),
        ({"HTTPS_PROXY": "http://me:hunter2@proxy:x"}, "HTTPS_PROXY cannot be used"),
        ({"HTTPS_PROXY": "http://proxy:3128\n"}, "HTTPS_PROXY cannot be used"),
        ({"HTTPS_PROXY": PROXY, "NO_PROXY": "a.example.com,10.0.0.0/99"}, "NO_PROXY has an entry that is no range of"),
        ({"SSL_CERT_FILE": "/nowhere.pem"}, "SSL_CERT_FILE must name a file with certificates"),
        ({"SSL_CERT_FILE": "/"}, "SSL_CERT_FILE must name a file with certificates"),
        ({"SSL_CERT_DIR": "/nowhere"}, "SSL_CERT_DIR must name a directory of certificates"),
        ({"SSLKEYLOGFILE": "/nowhere/keys"}, "SSLKEYLOGFILE must name a file in a directory"),
    ],
)
def test_what_cannot_work_is_named(variables: dict[str, str], says: str) -> None:
    [said] = network_problems([GOOGLE], variables)
    assert said.startswith(says)
    assert said.endswith(".")
    assert "hunter2" not in said


def test_a_proxy_that_is_not_needed_is_not_looked_at() -> None:
    socks = {"ALL_PROXY": "socks5://127.0.0.1:1080"}
    assert network_problems(["http://127.0.0.1:8085/"], socks) == []
    assert network_problems([GOOGLE], {**socks, "NO_PROXY": "[::1],googleapis.com"}) == []


def test_certificates_by_a_file_or_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("")
    monkeypatch.setenv("SSL_CERT_FILE", str(empty))
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        tls()
    with pytest.raises(ConfigurationError, match="SSL_CERT_FILE"):
        client_options(GOOGLE)
    monkeypatch.setenv("SSL_CERT_FILE", "")
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    with pytest.raises(ConfigurationError, match="openssl rehash"):
        tls()
    (tmp_path / "0a1b2c3d.0").write_text("")
    monkeypatch.setenv("SSL_CERT_DIR", f"{tmp_path}{os.pathsep}{tmp_path}")
    assert isinstance(tls(), ssl.SSLContext)
