"""Something that is done again and again in a thread of its own, with a session of its own, while a test goes on."""

import threading
from typing import Any, Self

import psycopg

Connection = psycopg.Connection[tuple[Any, ...]]


class Repeating:
    """Calls `step` until the block ends; an error ends it early, and is raised at the end of the block.

    Args:
        dsn: Of its session, which is in autocommit mode.
        pause: Seconds between two steps.

    Attributes:
        error: What ended it early.
    """

    def __init__(self, dsn: str, *, pause: float = 0.0) -> None:
        self.error: Exception | None = None
        self._dsn = dsn
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=type(self).__name__)

    def step(self, connection: Connection) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.stop()
        if self.error is not None and kind is None:
            raise self.error

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with psycopg.connect(self._dsn, autocommit=True) as connection:
                while not self._stop.is_set():
                    self.step(connection)
                    self._stop.wait(self._pause)
        except Exception as error:  # noqa: BLE001  (told to the test)
            self.error = error
