"""Says what is wrong with a payload: the path of the field, and what the field must be, never the value.

What a field must be is the first sentence of the docstring beside it. The library that reads payloads has messages of
its own, which may repeat values and name its types; we pass none of them on.
"""

from collections.abc import Iterator, Mapping
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import PydanticCustomError

_UNREADABLE = (  # what the parser says, and what we say
    ("number out of range", "has a number of more than 4,300 digits: write it as a text, or leave it out"),
    ("recursion limit exceeded", "is nested 200 deep or more: leave out what is nested so"),
    ("hex escape", "has half of a character (a surrogate without its other half): take it out"),
)
_NO_JSON = "must be JSON (this cannot be read)"
_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "a string"),
    (list, "a list"),
    (dict, "an object"),
    (object, "null"),
)
_OURS = "ours"


def problem(said: str | None = None) -> PydanticCustomError:
    """An error of ours: a sentence that repeats no value; without one, the field is not what it must be."""
    return PydanticCustomError(_OURS, "", {"said": said} if said else {})


def described(model: type[BaseModel], error: Mapping[str, Any]) -> str:
    """The path of a field, and what it must be.

    Args:
        model: What the payload was read as.
        error: One of the library's errors, with its input.
    """
    kind, path = error["type"], ".".join(map(str, error["loc"])) or "payload"
    if kind == "json_invalid":
        theirs = error["ctx"]["error"]
        return f"payload: {next((ours for words, ours in _UNREADABLE if words in theirs), _NO_JSON)}"
    if kind == _OURS and (said := error.get("ctx", {}).get("said")):
        return f"{path}: {said}"
    wanted = _wanted(model, error["loc"])
    if kind == "missing":
        return f"{path}: is missing; it must be {wanted}"
    given = error["input"]
    twice = ": encoded twice?" if isinstance(given, str) and kind in ("model_type", "model_attributes_type") else ""
    what = f" (this is {_named(given)}{twice})" if kind.endswith("_type") else ""
    return f"{path}: must be {wanted}{what}"


def _wanted(model: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """What a field must be, by its path."""
    wanted = f"an object with {', '.join(_required(model))}"
    for step in location:
        fields = {field.alias: field for field in model.model_fields.values()}
        if (field := fields.get(str(step))) is not None:
            wanted = (field.description or wanted).partition(". ")[0]
            model = next(_models(field.annotation), model)
    return wanted


def _required(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items() if field.is_required()]


def _models(annotation: object) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _named(value: object) -> str:
    """The kind of a JSON value, never the value."""
    return next(name for kinds, name in _KINDS if isinstance(value, kinds))
