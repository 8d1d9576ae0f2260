"""The emulator as a process of its own."""

import ipaddress
import signal
from collections.abc import Callable

import trio

from calendar_emulator.emulator import Emulator
from calendar_emulator.http.app import application
from calendar_emulator.http.server import listen, serve_listeners
from calendar_emulator.http.service import Service
from calendar_emulator.oauth.endpoints import CLIENT_ID, CLIENT_SECRET
from calendar_emulator.quota import Quota


class AddressError(Exception):
    """An address that cannot be listened on, or must not be without a word; the sentence says what to do."""


def parse_bind(bind: str, *, allow_remote: bool) -> tuple[str, int]:
    """Read `host:port`.

    Args:
        bind: An IP address (IPv6 in brackets) or `localhost`, and a port; 0 for any free one.
        allow_remote: Whether addresses other than loopback are accepted.

    Raises:
        AddressError: It is not such a pair, or it is open to others.
    """
    host, _, port = bind.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
        number = int(port)
    except ValueError as error:
        raise AddressError(f"{bind!r} is not an address and a port, such as 127.0.0.1:8085.") from error
    if not 0 <= number <= 65_535:
        raise AddressError(f"{number} is not a port.")
    if not loopback and not allow_remote:
        raise AddressError(
            f"{host} can be reached from other machines, and everybody who reaches the emulator controls it. "
            "Bind to 127.0.0.1, or pass --allow-remote if that is meant."
        )
    return host, number


async def run(host: str, port: int, *, email: str, quota: bool, say: Callable[[str], object]) -> None:
    """Serve a new emulator with one user until SIGINT or SIGTERM.

    Args:
        host: Where to listen.
        port: The port, 0 for any free one.
        email: The user's address, which is also the id of their calendar.
        quota: Whether Google's published limits apply.
        say: Given each line of the announcement.

    Raises:
        AddressError: The address cannot be listened on.
    """
    try:
        listeners = await listen(host, port)
    except OSError as error:
        raise AddressError(f"Cannot listen on {host}, port {port}: {error.strerror}.") from error
    emulator = Emulator(quota=Quota.documented() if quota else None)
    refresh_token = emulator.add_user(email)
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            url = await nursery.start(serve_listeners, application(Service(emulator)), listeners)
            for name, value in (
                ("GOOGLE_API_ROOT", f"{url}/"),
                ("GOOGLE_TOKEN_URI", f"{url}/token"),
                ("GOOGLE_AUTH_URI", f"{url}/o/oauth2/v2/auth"),
                ("GOOGLE_CLIENT_ID", CLIENT_ID),
                ("GOOGLE_CLIENT_SECRET", CLIENT_SECRET),
                ("REFRESH_TOKEN", refresh_token),
                ("CALENDAR_ID", email),
                ("CONTROL", f"{url}/emulator/"),
            ):
                say(f"{name}={value}")
            async for _ in signals:
                break
            nursery.cancel_scope.cancel()
