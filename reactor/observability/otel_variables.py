"""Checks OpenTelemetry's variables before its own code reads them.

This is apart from `reactor.observability.tracing` because commands that make no spans also read the settings.
"""

import os
import re
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import urlsplit

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
"""Spans are made where one of these is set."""


def trace_problems(environment: Mapping[str, str]) -> list[str]:
    """Say what is wrong with OpenTelemetry's variables, a sentence for each; nothing where no span is made.

    Its own warnings repeat values, and a header is a secret.
    """
    if not any(environment.get(name) for name in ENDPOINTS):
        return []
    given = {name: value for name, value in environment.items() if value and name.startswith("OTEL_")}
    found = []
    for pattern, suits, wanted in _VARIABLES:
        found += [
            f"{name} must be {wanted}." for name in given if re.fullmatch(pattern, name) and not suits(given[name])
        ]
    if "ratio" in given.get("OTEL_TRACES_SAMPLER", "").lower() and not _is_share(
        given.get("OTEL_TRACES_SAMPLER_ARG", "")
    ):
        found.append("OTEL_TRACES_SAMPLER_ARG must be the part of the traces that is kept, from 0 to 1.")
    return found


def _is_url(text: str) -> bool:
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
    except ValueError:
        return False
    return usable and text.isprintable() and " " not in text


def _is_share(text: str) -> bool:
    return _is_number(text) and float(text) <= 1


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\s*[0-9]+(\.[0-9]*)?\s*", text) is not None


def _is_whole(text: str) -> bool:
    return re.fullmatch(r"\s*[0-9]{1,18}\s*", text) is not None


def _is_file(text: str) -> bool:
    return os.path.isfile(text) and os.access(text, os.R_OK)  # noqa: PTH113  (what cannot be a path is no error)


def _are_headers(text: str) -> bool:
    return all(
        re.fullmatch(r"\s*[!#-'*+.0-9A-Z^-z|~-]+\s*=[\t !#-+\--:<-\[\]-~]*", each)
        for each in text.split(",")
        if each.strip()
    )


def _among(*words: str) -> Callable[[str], bool]:
    return lambda text: text.strip().lower() in words


_OTLP = "OTEL_EXPORTER_OTLP_(TRACES_)?"
_SAMPLERS = tuple(
    f"{parent}{name}" for parent in ("", "parentbased_") for name in ("always_on", "always_off", "traceidratio")
)
_VARIABLES: Sequence[tuple[str, Callable[[str], bool], str]] = (
    (f"{_OTLP}ENDPOINT", _is_url, "a URL with http or https and a host, such as http://collector:4318"),
    (f"{_OTLP}PROTOCOL", _among("http/protobuf"), "http/protobuf, the one that is spoken here (port 4318, not 4317)"),
    (f"{_OTLP}TIMEOUT", _is_number, "a number of seconds"),
    (f"{_OTLP}COMPRESSION", _among("none", "gzip", "deflate"), "none, gzip or deflate"),
    (f"{_OTLP}(CERTIFICATE|CLIENT_KEY|CLIENT_CERTIFICATE)", _is_file, "the name of a file that is there"),
    (f"{_OTLP}HEADERS", _are_headers, "name=value, several with commas between them; in values write , as %2C"),
    ("OTEL_BSP_.*", lambda text: _is_whole(text) and int(text) > 0, "a whole number from 1"),
    ("OTEL_.*_LIMIT", _is_whole, "a whole number"),
    ("OTEL_TRACES_SAMPLER", _among(*_SAMPLERS), f"one of {', '.join(_SAMPLERS)}"),
)
"""OpenTelemetry's variables by pattern, which values suit, and what is wanted."""
