"""The reference in docs/, made from the code: `python -m tools.reference` (`make docs`) writes it.

What is made stands between two comments; the text around it is a person's. The JSON Schema is made as a whole.
tests/docs/test_reference.py says whether a file is current.
"""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from pydantic import TypeAdapter
from typer.cli import get_docs_for_click

from reactor.console.settings import ConsoleSettings
from reactor.core.payload import Payload
from reactor.settings import Settings
from tests.support.commands import whole

DOCS = Path(__file__).resolve().parent.parent / "docs"
PROGRAM = "python -m reactor"
_MADE = re.compile(r"(<!-- made from [^\n]*; begin -->\n).*?(<!-- end -->\n)", re.DOTALL)


def configuration() -> str:
    """The table of the settings."""
    return _settings(Settings.model_fields).replace("](", "](../")  # written as seen from docs/


def console_configuration() -> str:
    """The table of the console's own settings."""
    return _settings({name: each for name, each in ConsoleSettings.model_fields.items() if name.startswith("console_")})


def _settings(fields: Mapping[str, Any]) -> str:
    lines = ["| Variable | Default | Meaning |", "|---|---|---|"]
    for name, field in fields.items():
        usual = "none" if str(field.default) == "" else f"`{field.default}`"
        default = "required" if field.is_required() else usual
        lines.append(f"| `{name.upper()}` | {default} | {' '.join((field.description or '').split())} |")
    return "\n".join(lines) + "\n"


def commands() -> str:
    """Every command with its options, as its own help has it."""
    command = whole()
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name=PROGRAM)
    text = text.partition("\n")[2]  # the page has a title of its own
    for first in _cut_short(command):
        text = re.sub(r"(?m)^\* `[a-z-]+`: .*\.\.\.$", first.replace("\\", r"\\"), text, count=1)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def _cut_short(command: Any) -> Iterator[str]:
    """The lines of the lists of commands that are cut short, whole, in their order."""
    below = getattr(command, "commands", {}).values()
    for each in below:
        if each.get_short_help_str().endswith("..."):
            first = (each.help or "").split("\n\n")[0].replace("\n", " ")
            yield f"* `{each.name}`: {first}"
    for each in below:
        yield from _cut_short(each)


def payload() -> str:
    """The tables of the payload's fields, from its JSON Schema."""
    defined = payload_schema()["$defs"]
    tables = []
    for name, title in TITLES.items():
        schema = defined[name]
        lines = ["| Field | Type | Default | Meaning |", "|---|---|---|---|"]
        for field, about in schema["properties"].items():
            default = "required" if field in schema.get("required", ()) else f"`{json.dumps(about.get('default'))}`"
            meaning = about.get("description") or defined[_reference(about)]["description"]
            lines.append(f"| `{field}` | {_kind(about, defined)} | {default} | {meaning[0].upper()}{meaning[1:]} |")
        tables.append(f"### {title}\n\n" + "\n".join(lines) + "\n")
    return "\n".join(tables)


TITLES = {
    "Upsert": "UPSERT_EVENT",
    "Event": "`event`",
    "Reminders": "`event.reminders`",
    "Reminder": "`event.reminders.overrides`, each",
    "Cancel": "CANCEL_EVENT",
    "Rebuild": "REBUILD_ALL",
}


def payload_schema() -> dict[str, Any]:
    """The JSON Schema of a payload, from the models."""
    schema = _without_titles(TypeAdapter(Payload).json_schema())
    about = {"title": "What sync_outbox.payload holds", "description": "See payload.md beside it."}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **about, **schema}


def _without_titles(schema: Any) -> Any:
    """A schema without the titles that are made of names; a property may have that name."""
    if isinstance(schema, list):
        return [_without_titles(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: _without_titles(each) for name, each in schema.items() if name != "title" or isinstance(each, dict)}


def _reference(about: Mapping[str, Any]) -> str:
    return str(about["$ref"].rpartition("/")[2])


def _kind(about: Mapping[str, Any], defined: Mapping[str, Any]) -> str:
    """The type of a field, with its limits."""
    if "anyOf" in about:
        return " or ".join(_kind(each, defined) for each in about["anyOf"])
    if "$ref" in about:
        found = defined[_reference(about)]
        return _kind(found, defined) if "enum" in found else "object"
    if "enum" in about or "const" in about:
        return ", ".join(f"`{value}`" for value in about.get("enum", [about.get("const")]))
    match about:
        case {"minLength": least, "maxLength": most}:
            return f"string of {least:,} to {most:,} characters"
        case {"maxLength": most}:
            return f"string of at most {most:,} characters"
        case {"minimum": least, "maximum": most}:
            return f"integer from {least:,} to {most:,}"
        case {"items": items}:
            most = f" of at most {about['maxItems']}" if "maxItems" in about else ""
            return f"list{most}, each {_kind(items, defined)}"
    return str(about["type"])


def schema_file() -> str:
    """The text of docs/payload.schema.json."""
    return json.dumps(payload_schema(), indent=2) + "\n"


MADE: Mapping[str, Callable[[], str]] = {
    "reference/configuration.md": configuration,
    "reference/commands.md": commands,
    "console.md": console_configuration,
    "payload.md": payload,
    "payload.schema.json": schema_file,
}


def current(file: str) -> str:
    """A file's text as it should be."""
    if not file.endswith(".md"):
        return MADE[file]()
    parts = _MADE.split((DOCS / file).read_text("utf-8"))
    assert len(parts) == 4, f"docs/{file} needs one pair of comments"
    before, begin, end, after = parts
    return f"{before}{begin}{MADE[file]()}{end}{after}"


if __name__ == "__main__":
    os.environ["COLUMNS"] = "120"
    for each in MADE:
        (DOCS / each).write_text(current(each), "utf-8")
