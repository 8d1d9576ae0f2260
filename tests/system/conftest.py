"""A Trio loop in a thread of its own, in which replicas run beside a test that is not asynchronous."""

from collections.abc import Iterator

import pytest

from tests.support.background import Background


@pytest.fixture
def background() -> Iterator[Background]:
    with Background() as background:
        yield background
