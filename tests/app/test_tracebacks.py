"""What is told of an error: types and places, never what it says or what was worked on."""

import errno
import random
from collections.abc import Callable

import httpx
import psycopg
import pydantic
import pytest

from reactor.errors import ConfigurationError, TransientError
from reactor.observability.tracebacks import described

SECRET = "dinner with ada@example.com"


def raised(error: BaseException, behind: BaseException | None = None) -> BaseException:
    def fail() -> None:
        raise error from behind

    try:
        fail()
    except BaseException as caught:  # noqa: BLE001
        return caught
    raise AssertionError


def raised_again(error: BaseException) -> BaseException:
    """Raise it as it is, with what it says it was raised during."""
    during = error.__context__
    error = raised(error)
    error.__cause__, error.__suppress_context__, error.__context__ = None, False, during
    return error


class Model(pydantic.BaseModel):
    title: int


def validation() -> Exception:
    try:
        Model.model_validate({"title": SECRET})
    except pydantic.ValidationError as error:
        return error
    raise AssertionError


def noted() -> Exception:
    error = ValueError(SECRET)
    error.add_note(SECRET)
    return error


class UnreadableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError(SECRET)


FOREIGN: list[Callable[[], BaseException]] = [
    lambda: ValueError(SECRET),
    lambda: KeyError(SECRET),
    lambda: AssertionError(SECRET),
    lambda: UnicodeDecodeError("utf-8", SECRET.encode(), 0, 1, SECRET),
    lambda: OSError(SECRET),
    lambda: FileNotFoundError(errno.ENOENT, SECRET, SECRET),
    lambda: httpx.InvalidURL(SECRET),
    lambda: psycopg.errors.UniqueViolation(f"DETAIL: Key (title)=({SECRET})"),
    lambda: SyntaxError(SECRET, ("file", 1, 1, SECRET)),
    UnreadableError,
    validation,
    noted,
]


@pytest.mark.parametrize("seed", range(200))
def test_no_message_of_a_foreign_error_is_told(seed: int) -> None:
    """However errors are behind each other, in groups, and raised again."""
    draw = random.Random(seed)
    error = draw.choice(FOREIGN)()
    for _ in range(draw.randint(0, 8)):
        match draw.choice(("from", "during", "group", "ours")):
            case "from":
                error = raised(draw.choice(FOREIGN)(), error)
            case "during":
                following = draw.choice(FOREIGN)()
                following.__context__ = error
                error = raised_again(following)
            case "group":
                error = raised(BaseExceptionGroup(SECRET, [error, draw.choice(FOREIGN)()]))
            case _:
                error = raised(TransientError("The database refused."), error)
    assert SECRET not in described(error)


def test_it_tells_the_type_the_place_and_what_led_to_it() -> None:
    lines = described(raised(ConfigurationError("LOG_LEVEL is wrong."), raised(KeyError("a")))).splitlines()
    begin = lines.index("which led to")
    assert (lines[0], lines[begin - 1]) == ("Traceback (most recent call last):", "KeyError")
    assert lines[begin + 1] == "Traceback (most recent call last):"
    assert lines[-2].startswith('  File "tests/app/test_tracebacks.py", line ')
    assert lines[-2].endswith(", in raised.<locals>.fail")
    assert lines[-1] == "reactor.errors.ConfigurationError: LOG_LEVEL is wrong."


def test_the_names_of_a_system_and_the_codes_of_a_database_are_told() -> None:
    assert described(FileNotFoundError(errno.ENOENT, "no")).splitlines()[-1] == "FileNotFoundError: ENOENT"
    assert described(psycopg.errors.UniqueViolation()).splitlines()[-1] == "psycopg.errors.UniqueViolation: 23505"


def test_each_error_of_a_group_is_told_up_to_a_bound() -> None:
    text = described(BaseExceptionGroup("", [raised(ValueError()), *(KeyError() for _ in range(20))]))
    assert text.count("KeyError") == 9
    assert text.splitlines()[-1] == "  and 11 more"


def test_a_recursion_without_end_is_told_in_bounds() -> None:
    def call(depth: int) -> None:
        if depth:
            call(depth - 1)
        raise ValueError

    with pytest.raises(ValueError) as caught:
        call(500)
    lines = described(caught.value).splitlines()
    assert len(lines) == 43
    assert lines[11] == "  462 more"


def test_errors_that_are_behind_each_other_in_a_ring_have_an_end() -> None:
    first, second = ValueError(), KeyError()
    first.__context__, second.__context__ = second, first
    assert described(first).count("Traceback") == 2
