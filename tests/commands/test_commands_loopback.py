"""The server for the answer of Google's consent page: the answer is handed on, and the person has seen their page."""

import queue
import socket
import struct
from http.server import ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

import pytest

from reactor.commands.access.loopback import Loopback
from reactor.errors import PermanentError

DENIED = b"GET /?error=access_denied&state=ours HTTP/1.1\r\nHost: localhost\r\n\r\n"


def connected(loopback: Loopback) -> socket.socket:
    address = urlsplit(loopback.url)
    return socket.create_connection((str(address.hostname), int(address.port or 0)), timeout=30)


def test_the_page_has_been_sent_before_the_command_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    pages: list[bytes] = []

    class ReadsFirst(queue.SimpleQueue[Any]):
        def put(self, item: Any, *more: Any) -> None:
            browser.settimeout(1)
            try:
                pages.append(browser.recv(65536))
                pages.append(browser.recv(65536))
            finally:
                super().put(item, *more)

    monkeypatch.setattr(queue, "SimpleQueue", ReadsFirst)
    with Loopback() as loopback, connected(loopback) as browser:
        loopback.expect("ours")
        browser.sendall(DENIED)
        with pytest.raises(PermanentError, match="Consent was denied"):
            loopback.wait(30)
    assert b"Consent was not given" in b"".join(pages)


def test_an_answer_may_come_before_anybody_waits() -> None:
    with Loopback() as loopback, connected(loopback) as browser:
        loopback.expect("ours")
        browser.sendall(b"GET /?code=yes&state=ours HTTP/1.1\r\nHost: localhost\r\n\r\n")
        with browser.makefile("rb") as page:
            assert b"Thank you" in page.read()
        assert loopback.wait(30) == "yes"


def test_a_browser_that_hangs_up_is_no_news(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    handled: queue.SimpleQueue[None] = queue.SimpleQueue()
    shutdown = ThreadingHTTPServer.shutdown_request

    def noted(self: ThreadingHTTPServer, request: Any) -> None:
        shutdown(self, request)
        handled.put(None)  # the last that is done for a connection, after its error was told

    monkeypatch.setattr(ThreadingHTTPServer, "shutdown_request", noted)
    with Loopback() as loopback:
        browser = connected(loopback)
        browser.sendall(DENIED[:20])
        browser.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # reset, not closed
        browser.close()
        handled.get(timeout=30)
    assert capfd.readouterr() == ("", "")
