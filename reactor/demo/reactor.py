"""The product in the demo: the service as a library call, with settings that nobody has to write down."""

from collections.abc import Callable

import trio

from reactor import service
from reactor.settings import Settings


async def reactor(variables: dict[str, str], stop: trio.Event, ready: Callable[[], object]) -> None:
    """Run the service until `stop` is set."""
    await service.run(Settings.from_environment(**variables), stop=stop, ready=lambda _: ready())
