"""The settings, read from the environment once and never changed.

The service reads all of them (`Settings`), a command only those that it needs (the classes before it), so that `status`
works without Google's secret. The table in docs/reference/configuration.md is made from here.

A setting has the same name here and in the environment, where it is written in capitals. An empty variable counts as
one that is not set. All problems are reported in one error, a sentence for each; a value is never quoted, because any
of them may be a secret that was pasted into the wrong place.

We also check the variables that libraries read (libpq, OpenSSL, HTTP clients, OpenTelemetry), each in the commands
whose library reads it, so that a wrong value is reported at the start and not later.
"""

import ipaddress
import os
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from reactor.errors import ConfigurationError
from reactor.google.endpoints import API_ROOT, AUTH_URI, TOKEN_URI, OAuthClient, checked_url
from reactor.google.network import network_problems
from reactor.observability.otel_variables import ENDPOINTS, trace_problems
from reactor.postgres.connection.dsn import check_dsn, libpq_problems, missing_dsn
from reactor.token_encryption import KeySettingError, TokenCipher

LEAST_QUOTA = 60  # calls a minute

_MARKDOWN = re.compile(r"`| \(\[.*?\]\(.*?\)\)")
_WHOLE_NUMBER = "must be a whole number"
_SENTENCES: Mapping[str, str] = {
    "int_parsing": _WHOLE_NUMBER,
    "int_from_float": _WHOLE_NUMBER,
    "int_parsing_size": _WHOLE_NUMBER,
    "float_parsing": "must be a number",
    "finite_number": "must be a number",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be one of: {expected}",
    "string_too_long": "must have at most {max_length} characters",
}


def reads_as(check: Any) -> AfterValidator:
    """A check of ours, which raises a `ConfigurationError`, as pydantic wants it."""

    def validate(value: Any) -> Any:
        try:
            check(value.get_secret_value() if isinstance(value, SecretStr) else value)
        except KeySettingError as error:
            raise ValueError("; ".join(error.problems)) from None
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        return value

    return AfterValidator(validate)


_IN_ANY_CASE = BeforeValidator(lambda value: value.strip().lower() if isinstance(value, str) else value)


def _check_url(text: str) -> None:
    try:
        checked_url(text)
    except ConfigurationError:
        raise ConfigurationError(
            "must be https, with a host and without user, query or fragment; plain http is accepted for loopback only"
        ) from None


def parse_bind(bind: str) -> tuple[str | None, int]:
    """Read `host:port`, with an IPv6 address in brackets; the host is None where it is every address of both families.

    Raises:
        ConfigurationError: It is not such a pair.
    """
    given, _, port = bind.strip().rpartition(":")
    host = None if given in ("*", "[::]") else given.removeprefix("[").removesuffix("]")
    try:
        ipaddress.ip_address("127.0.0.1" if host in (None, "localhost") else host)
        number = int(port)
    except ValueError:
        number = -1
    if not 0 <= number <= 65_535:
        raise ConfigurationError("must be an address and a port, such as 127.0.0.1:8080, or *:8080 for all addresses")
    return host, number


class _FromEnvironment(BaseSettings):
    model_config = SettingsConfigDict(
        frozen=True, extra="ignore", env_ignore_empty=True, hide_input_in_errors=True, use_attribute_docstrings=True
    )

    @classmethod
    def from_environment(cls, **given: Any) -> Self:
        """Read the settings.

        Args:
            given: Settings that are not taken from the environment, by their names here; None for one that is.

        Raises:
            ConfigurationError: With every problem at once, each a line that names the variable.
        """
        found, problems = cls._read(given)
        problems += cls._of_libraries(given)
        if found is None or problems:
            raise ConfigurationError("\n".join(problems))  # not chained: the original contains what was given
        return found

    @classmethod
    def alone(cls, **given: Any) -> Self:
        """Read the settings as `from_environment` does, and leave the variables of libraries out."""
        found, problems = cls._read(given)
        if found is None:
            raise ConfigurationError("\n".join(problems))
        return found

    @classmethod
    def _read(cls, given: Mapping[str, Any]) -> tuple[Self | None, list[str]]:
        try:
            return cls(**{name: value for name, value in given.items() if value is not None}), []
        except ValidationError as error:
            return None, [cls._problem(problem["loc"], problem["type"], problem) for problem in error.errors()]

    @classmethod
    def _of_libraries(cls, given: Mapping[str, Any]) -> list[str]:
        """What is wrong with the variables of the libraries that work with these settings."""
        del given
        return network_problems([])

    @classmethod
    def _problem(cls, place: tuple[int | str, ...], kind: str, error: Mapping[str, Any]) -> str:
        name = str(place[0])
        if kind == "missing":
            about = _MARKDOWN.sub("", " ".join((cls.model_fields[name].description or "").split()))
            return missing_dsn(os.environ) if name == "database_url" else f"{name.upper()} is not set: {about}."
        context = error.get("ctx", {})
        if kind == "value_error":
            return f"{name.upper()} {context['error']}."
        return f"{name.upper()} {_SENTENCES.get(kind, 'cannot be read').format(**context)}."


class DatabaseSettings(_FromEnvironment):
    """The connection string of the database."""

    database_url: Annotated[SecretStr, reads_as(check_dsn)]
    """The PostgreSQL database, `postgresql://…`: a direct connection, or a pooler in session mode. A pooler in
    transaction mode is found out and refused"""

    @classmethod
    def _of_libraries(cls, given: Mapping[str, Any]) -> list[str]:
        return [*libpq_problems(os.environ), *super()._of_libraries(given)]


class GoogleSettings(_FromEnvironment):
    """Google's addresses, and our OAuth client."""

    google_client_id: Annotated[str, Field(min_length=1)]
    """The OAuth client's id, from Google's console; `none`, as the secret, where all connections are service accounts
    ([credentials.md](credentials.md))"""

    google_client_secret: SecretStr
    """The OAuth client's secret"""

    google_api_root: Annotated[str, reads_as(_check_url)] = API_ROOT
    """The URL under which `calendar/v3/` and `batch/calendar/v3` lie. Plain http for loopback only"""

    google_token_uri: Annotated[str, reads_as(_check_url), Field(validate_default=True)] = TOKEN_URI
    """Where access tokens are fetched. Plain http for loopback only; where one of the two is http, both must be
    replaced"""

    google_auth_uri: Annotated[str, reads_as(_check_url)] = AUTH_URI
    """Where a person consents in the browser; `connect` alone needs it. Plain http for loopback only"""

    @field_validator("google_client_id", "google_client_secret")
    @classmethod
    def _of_one_piece(cls, value: str | SecretStr) -> str | SecretStr:
        text = value.get_secret_value() if isinstance(value, SecretStr) else value
        if text.split() != [text]:
            raise ValueError("must be one word: paste it again, without spaces or line breaks")
        return value

    @field_validator("google_token_uri", mode="after")
    @classmethod
    def _is_as_real_as_the_api(cls, value: str, info: ValidationInfo) -> str:
        root = info.data.get("google_api_root", value)  # absent if it is invalid itself
        half = (root == API_ROOT) != (value == TOKEN_URI)
        if half and (root.startswith("http:") or value.startswith("http:")):
            raise ValueError(
                "and GOOGLE_API_ROOT must both be Google's or both be replaced: tokens of one are not for the other"
            )
        return value

    @property
    def oauth_client(self) -> OAuthClient:
        """Who we are to the token endpoint."""
        secret = self.google_client_secret.get_secret_value()
        return OAuthClient(self.google_client_id, secret, self.google_token_uri)

    @classmethod
    def _of_libraries(cls, given: Mapping[str, Any]) -> list[str]:
        urls = []
        for name, usual in (("google_api_root", API_ROOT), ("google_token_uri", TOKEN_URI)):
            with suppress(ConfigurationError):  # the setting's own check reports it
                urls.append(str(checked_url(given.get(name) or os.environ.get(name.upper()) or usual)))
        return [*super()._of_libraries(given), *network_problems(urls)]


class EncryptionSettings(_FromEnvironment):
    """What refresh tokens are encrypted with."""

    token_encryption_keys: Annotated[SecretStr, reads_as(TokenCipher.from_setting)]
    """The keys of the stored refresh tokens, `k2:<base64>,k1:<base64>`: the first encrypts, all decrypt
    ([secrets.md](secrets.md))"""

    @property
    def token_cipher(self) -> TokenCipher:
        """The keys, ready for use."""
        return TokenCipher.from_setting(self.token_encryption_keys.get_secret_value())


class LogSettings(_FromEnvironment):
    """What the log is like."""

    log_format: Annotated[Literal["json", "console", "auto"], _IN_ANY_CASE] = "auto"
    """`json`, `console`, or `auto`: console on a terminal, else json; capitals are read too"""

    log_level: Annotated[Literal["debug", "info", "warning", "error"], _IN_ANY_CASE] = "info"
    """The least level of our own lines: `debug`, `info`, `warning` or `error`; capitals are read too. `debug` tells of
    each item and request; libraries speak from `warning`"""


class Settings(LogSettings, EncryptionSettings, GoogleSettings, DatabaseSettings):
    """What can be set. `from_environment` reads it."""

    calendar_sync_batch_size: Annotated[int, Field(ge=1, le=1_000)] = 200
    """Items per claim. A full claim is followed by the next at once: it bounds memory, not throughput"""

    calendar_sync_poll_interval_ms: Annotated[int, Field(ge=100, le=60_000)] = 5_000
    """Milliseconds between looks at the outbox when no writer calls; new items do not wait for it"""

    calendar_sync_max_retries: Annotated[int, Field(ge=1, le=100)] = 5
    """Failed attempts after which an item is a dead letter; a ceiling over each row's own `max_attempts`"""

    calendar_sync_concurrency: Annotated[int, Field(ge=1, le=1_000)] = 32
    """Requests to Google in flight, all workspaces together"""

    calendar_sync_lane_concurrency: Annotated[int, Field(ge=1, le=100)] = 4
    """Requests to Google in flight for one workspace; not above `CALENDAR_SYNC_CONCURRENCY`"""

    calendar_sync_batch_parts: Annotated[int, Field(ge=1, le=50)] = 50
    """Items that share one batch request at most; 1 turns Google's batch endpoint off"""

    calendar_sync_requests_per_minute: Annotated[int, Field(ge=0, le=10_000_000)] = 10_000
    """Google's quota for the project, in calls a minute, as its console shows it; 0 where there is none (an emulator).
    It is not a share: the replicas that live divide it among themselves
    ([scaling.md](scaling.md#sharing-the-quota-among-replicas)). What Google refuses all the same slows the workspace
    down"""

    calendar_sync_lane_requests_per_minute: Annotated[int, Field(ge=0, le=10_000_000)] = 600
    """Google's quota for a user, in calls a minute; a call in a batch is one. 0 where there is none. Divided among the
    replicas likewise"""

    calendar_sync_drain_timeout_ms: Annotated[int, Field(ge=0, le=600_000)] = 25_000
    """Milliseconds that items in flight may take to finish after SIGTERM; the rest is given back. Leave about 15 s
    more before the process is killed (`terminationGracePeriodSeconds`)"""

    calendar_sync_retention_days: Annotated[int, Field(ge=1, le=3_650)] = 30
    """Days for which completed items and dead letters are kept; what died of AUTH waits for its connection"""

    calendar_sync_brake_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.5
    """The part of a workspace's events beyond which deletes stop the workspace until a person releases it
    ([architecture.md](architecture.md#the-brake)); 1 turns the brake off"""

    calendar_sync_brake_events: Annotated[int, Field(ge=1, le=1_000_000)] = 20
    """Fewer deletes than that never stop a workspace"""

    health_bind: Annotated[str, reads_as(parse_bind)] = "127.0.0.1:8080"
    """Address and port of `/livez`, `/readyz`, `/startupz` and `/metrics`. `*:8080` is every address, of IPv4 and of
    IPv6 where the machine has it; port 0 takes any free one"""

    @property
    def without_secrets(self) -> dict[str, Any]:
        """The settings by name, to compare replicas by; of the encryption keys their ids."""
        shown = {name: value for name, value in self if not isinstance(value, SecretStr)}
        return {**shown, "token_encryption_keys": ",".join(self.token_cipher.key_ids)}

    @field_validator("calendar_sync_requests_per_minute", "calendar_sync_lane_requests_per_minute")
    @classmethod
    def _is_a_quota(cls, value: int) -> int:
        if 0 < value < LEAST_QUOTA:
            raise ValueError(f"must be 0 or at least {LEAST_QUOTA}")
        return value

    @field_validator("calendar_sync_lane_concurrency")
    @classmethod
    def _fits_into_the_whole(cls, value: int, info: ValidationInfo) -> int:
        if value > info.data.get("calendar_sync_concurrency", value):
            raise ValueError("must not be above CALENDAR_SYNC_CONCURRENCY")
        return value

    @classmethod
    def _of_libraries(cls, given: Mapping[str, Any]) -> list[str]:
        spans = trace_problems(os.environ)
        collectors = [] if spans else [url for name in ENDPOINTS if (url := os.environ.get(name))]
        return list(dict.fromkeys([*super()._of_libraries(given), *network_problems(collectors), *spans]))


_PREFIX = "CALENDAR_SYNC_"
_SERVICE_LINK = re.compile(r".*_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)")


def unknown_variables(
    environment: Mapping[str, str] = os.environ,
    *,
    prefix: str = _PREFIX,
    fields: Collection[str] = frozenset(Settings.model_fields),
    page: str = "docs/reference/configuration.md",
) -> Iterator[str]:
    """A sentence for each variable that begins as ours do and is none, with the setting that is probably meant.

    Those that Kubernetes makes for a Service of such a name are passed over.

    Args:
        environment: The variables.
        prefix: How ours begin.
        fields: Those that are settings.
        page: The page that lists them.
    """
    known = {name.upper().removeprefix(prefix): name.upper() for name in fields}
    for name in sorted(environment):
        ours = name.upper().startswith(prefix) and not _SERVICE_LINK.fullmatch(name)
        if ours and name.upper() not in known.values():
            near = get_close_matches(name.upper().removeprefix(prefix), known)
            listed = f"{page} lists the settings."
            advice = f"did you mean {known[near[0]]}?" if near else listed
            yield f"{name} is no setting, and nothing is done with it: {advice}"
