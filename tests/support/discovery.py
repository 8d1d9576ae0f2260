"""Google's own description of the API as a judge of what the emulator is asked and what it answers.

The discovery document of calendar.v3 ships with google-api-python-client. Its schemas become JSON Schemas that refuse
unknown properties; a judge watches an emulator and keeps every contradiction it sees.
"""

import functools
import json
import re
from collections import Counter
from datetime import date, datetime
from importlib import resources
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

from calendar_emulator import Exchange

Json = dict[str, Any]

_ENOUGH = 300
"""Exchanges of one operation and status that are judged; thousands more of the same would only cost time."""

_FORMATS = FormatChecker(formats=())
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?")

_ERROR = Draft202012Validator(
    {
        "type": "object",
        "required": ["error"],
        "additionalProperties": False,
        "properties": {
            "error": {
                "type": "object",
                "required": ["code", "message", "errors"],
                "additionalProperties": False,
                "properties": {
                    "code": {"type": "integer"},
                    "message": {"type": "string"},
                    "status": {"type": "string"},
                    "details": {"type": "array"},
                    "errors": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "required": ["domain", "reason", "message"],
                            "additionalProperties": False,
                            "properties": {
                                name: {"type": "string"}
                                for name in ("domain", "reason", "message", "location", "locationType")
                            },
                        },
                    },
                },
            }
        },
    }
)


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    # An offset may be left out where a time zone stands beside it; the emulator's own rules see to that.
    return not isinstance(value, str) or bool(_RFC3339.fullmatch(value) and datetime.fromisoformat(value))


@_FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or bool(date.fromisoformat(value))


@functools.cache
def document() -> Json:
    """The discovery document."""
    folder = resources.files("googleapiclient") / "discovery_cache" / "documents"
    loaded: Json = json.loads((folder / "calendar.v3.json").read_text())
    return loaded


def method_of(operation: str) -> Json:
    """The document's description of an operation."""
    resource, _, name = operation.rpartition(".")
    found: Json = document()["resources"][resource or "events"]["methods"][name]
    return found


@functools.cache
def validator_of(schema: str) -> Draft202012Validator:
    """A validator for one of the document's schemas."""
    definitions = {name: _json_schema(value) for name, value in document()["schemas"].items()}
    return Draft202012Validator({"$ref": f"#/$defs/{schema}", "$defs": definitions}, format_checker=_FORMATS)


def _json_schema(google: Json) -> Json:
    if "$ref" in google:
        return {"$ref": f"#/$defs/{google['$ref']}"}
    schema: Json = {key: google[key] for key in ("type", "enum", "format") if key in google and google[key] != "any"}
    if google.get("type") == "object":
        schema["properties"] = {name: _json_schema(value) for name, value in google.get("properties", {}).items()}
        more = google.get("additionalProperties")
        schema["additionalProperties"] = _json_schema(more) if more else False
    if google.get("type") == "array":
        schema["items"] = _json_schema(google["items"])
    return schema


class Judge:
    """Watches exchanges and keeps what contradicts the document.

    A request that the emulator refused as wrong (400) is not judged: tests send such requests on purpose.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.judged: Counter[tuple[str, int]] = Counter()

    def __call__(self, exchange: Exchange) -> None:
        kind = exchange.operation, exchange.status
        if exchange.operation in ("batch", "token", "authorize", "revoke", "unknown") or self.judged[kind] >= _ENOUGH:
            return
        self.judged[kind] += 1
        found = self._answer(exchange)
        if exchange.status != 400:
            found += [*self._path(exchange), *self._query(exchange), *self._body(exchange)]
        self.problems += [f"{exchange.method} {exchange.path} {exchange.status}: {problem}" for problem in found]

    def verdict(self) -> None:
        assert not self.problems, "\n".join(self.problems)

    @staticmethod
    def _path(exchange: Exchange) -> list[str]:
        method = method_of(exchange.operation)
        template = re.sub(r"\{\w+\}", "[^/?#]+", f"/{document()['servicePath']}{method['path']}")
        right = method["httpMethod"] == exchange.method and re.fullmatch(template, exchange.path)
        return [] if right else [f"is not {method['httpMethod']} {method['path']}"]

    @staticmethod
    def _query(exchange: Exchange) -> list[str]:
        known: Json = document()["parameters"] | method_of(exchange.operation).get("parameters", {})
        problems = []
        for name, values in exchange.query.items():
            parameter = known.get(name)
            if parameter is None or parameter["location"] != "query":
                problems.append(f"unknown parameter {name}")
                continue
            if len(values) > 1 and not parameter.get("repeated"):
                problems.append(f"{name} is given more than once")
            problems += [f"{name}={value}" for value in values if not _fits(parameter, value)]
        return problems

    @staticmethod
    def _body(exchange: Exchange) -> list[str]:
        method = method_of(exchange.operation)
        if "request" not in method:
            return ["has a body"] if exchange.body else []
        body = exchange.body or {}
        if method["httpMethod"] == "PATCH":
            body = _without_nulls(body)
        schema = method["request"]["$ref"]
        problems = [f"body: {error.json_path}: {error.message}" for error in validator_of(schema).iter_errors(body)]
        for name, value in document()["schemas"][schema]["properties"].items():
            if method["id"] in value.get("annotations", {}).get("required", []) and name not in body:
                problems.append(f"body: {name} is required")
        return problems

    @staticmethod
    def _answer(exchange: Exchange) -> list[str]:
        if exchange.effect not in ("", "error") or exchange.status in (0, 304):
            return []
        if exchange.status >= 400:
            return [f"answer: {error.json_path}: {error.message}" for error in _ERROR.iter_errors(exchange.answer)]
        method = method_of(exchange.operation)
        if "response" not in method:
            return [] if (exchange.status, exchange.answer) == (204, None) else ["is not an empty 204"]
        validator = validator_of(method["response"]["$ref"])
        if "fields" in exchange.query:  # a part of the resource is still made of known properties
            return [f"answer: {error.message}" for error in validator.iter_errors(exchange.answer or {})]
        return [f"answer: {error.json_path}: {error.message}" for error in validator.iter_errors(exchange.answer)]


def _fits(parameter: Json, value: str) -> bool:
    kind = parameter["type"]
    if kind == "boolean":
        return value.lower() in ("true", "false")
    if kind == "integer":
        least, most = int(parameter.get("minimum", 0)), int(parameter.get("maximum", 2**31 - 1))
        return value.lstrip("-").isdigit() and least <= int(value) <= most
    if parameter.get("format") == "date-time":
        return _FORMATS.conforms(value, "date-time")
    return value in parameter.get("enum", [value])


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value
