"""Receives the answer of Google's consent page: a small HTTP server on loopback, for one answer.

Each connection has a thread, because browsers open some that they never use. An answer with another `state` than ours
is not for us and changes nothing. Ours is handed on when its page has been sent: the command may end at once, and the
thread with it, and the person would see a page that broke off. The page contains nothing of the request. It tells the
browser not to store it and not to send its address to other pages, because the address contains the code.
"""

import hmac
import html
import queue
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

from reactor.errors import ConfigurationError, PermanentError
from reactor.google.consent import denied

_TIMEOUT = 10.0  # seconds for a request on an open connection
_PAGE = "<!DOCTYPE html><meta charset=utf-8><title>Calendar sync</title><p>{}</p>"


class _Server(ThreadingHTTPServer):
    """Has a thread for each connection, which ends with the command; a browser that hangs up is not an error."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Loopback:
    """Listens on loopback for Google's answer, for the length of a `with` block.

    Args:
        port: Where it listens; 0 for any free port.

    Attributes:
        url: Where the answer has to come to.

    Raises:
        ConfigurationError: The port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._answers: queue.SimpleQueue[dict[str, str]] = queue.SimpleQueue()
        self._state = ""
        try:
            self._server = _Server(("127.0.0.1", port), self._handler())
        except OSError as error:
            raise ConfigurationError(
                f"--port: cannot listen on 127.0.0.1, port {port} ({error.strerror}): end what listens there, or "
                "register another port with the OAuth client and give that."
            ) from None
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()

    def expect(self, state: str) -> None:
        """Set the state that the answer must carry, before the page is opened: a browser may be quicker than `wait`."""
        self._state = state

    def wait(self, seconds: float) -> str:
        """Wait for the answer to what is expected, that long; return the code.

        Raises:
            PermanentError: The person said no, or nothing came.
            ConfigurationError, TransientError: Google's page refuses for another reason.
        """
        try:
            answer = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise PermanentError(
                f"Consent was not given within {seconds:g} s. Run it again, and open the address in a browser on this "
                "machine; --timeout gives more time."
            ) from None
        if "code" in answer:
            return answer["code"]
        raise denied(answer["error"])

    def _take(self, path: str) -> tuple[HTTPStatus, str, dict[str, str] | None]:
        """Handle a request; return the page for the browser, and the answer if it is ours."""
        target = urlsplit(path)
        answer = dict(parse_qsl(target.query))
        if target.path != "/" or not ("code" in answer or "error" in answer):
            return HTTPStatus.NOT_FOUND, "There is nothing here.", None
        if not self._state or not hmac.compare_digest(answer.get("state", "").encode(), self._state.encode()):
            text = "This answers another question. Open the address that the command printed."
            return HTTPStatus.BAD_REQUEST, text, None
        self._state = ""  # one answer
        if "code" in answer:
            return HTTPStatus.OK, "Thank you. You may close this window; the terminal shows the result.", answer
        return HTTPStatus.OK, "Consent was not given. You may close this window.", answer

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        take, answers = self._take, self._answers

        class Handler(BaseHTTPRequestHandler):
            timeout = _TIMEOUT
            server_version, sys_version = "calendar-sync-reactor", ""

            def do_GET(self) -> None:
                status, text, answer = take(self.path)
                try:
                    self._send(status, _PAGE.format(html.escape(text)).encode())
                finally:  # a window that was closed has answered all the same
                    if answer is not None:
                        answers.put(answer)

            def _send(self, status: HTTPStatus, page: bytes) -> None:
                self.send_response(status)
                for name, value in {
                    "Content-Type": "text/html; charset=utf-8",
                    "Content-Length": str(len(page)),
                    "Cache-Control": "no-store",
                    "Referrer-Policy": "no-referrer",
                    "Content-Security-Policy": "default-src 'none'",
                    "Connection": "close",
                }.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(page)

            def log_message(self, *_: object) -> None:
                """Nothing: the request's line holds the code."""

        return Handler
