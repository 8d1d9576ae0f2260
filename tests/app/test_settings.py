"""The environment is read whole, or refused whole; what is refused is named and never shown."""

from collections.abc import Mapping

import pytest
from hypothesis import example, given, settings, strategies as st
from pydantic import ValidationError

from reactor.errors import ConfigurationError
from reactor.observability.tracing import traces
from reactor.settings import Settings, parse_bind, unknown_variables

SECRET = "hunter2hunter2"
KEY = "k1:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
GIVEN: Mapping[str, str] = {
    "DATABASE_URL": f"postgresql://me:{SECRET}@db.internal/app",
    "GOOGLE_CLIENT_ID": "client",
    "GOOGLE_CLIENT_SECRET": SECRET,
    "TOKEN_ENCRYPTION_KEYS": KEY,
}
OF_LIBRARIES = (
    *("HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "PGSSLMODE", "PGPORT"),
    *("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS", "OTEL_BSP_SCHEDULE_DELAY", "OTEL_TRACES_SAMPLER"),
    *("OTEL_EXPORTER_OTLP_PROTOCOL", "OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_TRACES_SAMPLER_ARG", "OTEL_PROPAGATORS"),
)
EMULATED = {"GOOGLE_API_ROOT": "http://127.0.0.1:8085/", "GOOGLE_TOKEN_URI": "http://127.0.0.1:8085/token"}


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    for name in (*(name.upper() for name in Settings.model_fields), "SUPABASE_URL", *OF_LIBRARIES):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def read(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in {**GIVEN, **environment}.items():
        monkeypatch.setenv(name, value)
    return Settings.from_environment()


def problems(monkeypatch: pytest.MonkeyPatch, **environment: str) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        read(monkeypatch, **environment)
    assert refused.value.__cause__ is None, "the cause quotes what was given"
    return str(refused.value).splitlines()


def test_what_deployments_set_keeps_its_name_and_meaning(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(
        monkeypatch,
        CALENDAR_SYNC_BATCH_SIZE="10",
        CALENDAR_SYNC_POLL_INTERVAL_MS="2000",
        CALENDAR_SYNC_MAX_RETRIES="7",
    )
    assert settings.calendar_sync_batch_size == 10
    assert settings.calendar_sync_poll_interval_ms == 2_000
    assert settings.calendar_sync_max_retries == 7


def test_a_setting_is_never_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch)
    with pytest.raises(ValidationError):
        settings.calendar_sync_batch_size = 1  # type: ignore[misc]


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch)
    for shown in (repr(settings), str(settings), settings.model_dump_json()):
        assert SECRET not in shown
        assert KEY.split(":")[1] not in shown


def test_every_problem_is_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"LOG_FORMAT": "xml", "CALENDAR_SYNC_CONCURRENCY": "0", "HEALTH_BIND": "8080"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as refused:
        Settings.from_environment()
    named = {line.split()[0] for line in str(refused.value).splitlines()}
    assert named == {*GIVEN, "LOG_FORMAT", "CALENDAR_SYNC_CONCURRENCY", "HEALTH_BIND"}


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"CALENDAR_SYNC_BATCH_SIZE": "ten"}, "CALENDAR_SYNC_BATCH_SIZE must be a whole number."),
        ({"CALENDAR_SYNC_BATCH_SIZE": "0"}, "CALENDAR_SYNC_BATCH_SIZE must be at least 1."),
        ({"CALENDAR_SYNC_BATCH_PARTS": "51"}, "CALENDAR_SYNC_BATCH_PARTS must be at most 50."),
        ({"LOG_FORMAT": "xml"}, "LOG_FORMAT must be one of: 'json', 'console' or 'auto'."),
        ({"GOOGLE_CLIENT_SECRET": "a b"}, "GOOGLE_CLIENT_SECRET must be one word"),
        ({"DATABASE_URL": f"me:{SECRET}@db"}, "DATABASE_URL cannot be read"),
        ({"TOKEN_ENCRYPTION_KEYS": f"k1:{SECRET}"}, "TOKEN_ENCRYPTION_KEYS entry 1 ('k1') is not base64"),
        ({**EMULATED, "GOOGLE_API_ROOT": "http://calendar.internal/"}, "GOOGLE_API_ROOT must be https"),
        ({"GOOGLE_API_ROOT": "http://127.0.0.1:1/"}, "GOOGLE_TOKEN_URI and GOOGLE_API_ROOT must both be"),
        (
            {"CALENDAR_SYNC_CONCURRENCY": "2", "CALENDAR_SYNC_LANE_CONCURRENCY": "3"},
            "CALENDAR_SYNC_LANE_CONCURRENCY must not be above CALENDAR_SYNC_CONCURRENCY.",
        ),
    ],
)
def test_a_problem_is_a_sentence(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], sentence: str) -> None:
    [problem] = problems(monkeypatch, **environment)
    assert problem.startswith(sentence)
    assert problem.endswith(".")
    assert SECRET not in problem


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, CALENDAR_SYNC_BATCH_SIZE="").calendar_sync_batch_size == 200
    assert problems(monkeypatch, GOOGLE_CLIENT_ID="")[0].startswith(
        "GOOGLE_CLIENT_ID is not set: The OAuth client's id"
    )


def test_whoever_comes_from_supabase_is_told_what_to_give(monkeypatch: pytest.MonkeyPatch) -> None:
    [problem] = problems(monkeypatch, DATABASE_URL="", SUPABASE_URL="https://x.supabase.co")
    assert "session pooler" in problem


def test_an_emulator_may_stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    assert read(monkeypatch, **EMULATED).google_api_root == EMULATED["GOOGLE_API_ROOT"]


def test_capitals_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = read(monkeypatch, LOG_LEVEL="INFO", LOG_FORMAT="Json ")
    assert (settings.log_level, settings.log_format) == ("info", "json")


COLLECTOR = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}


@pytest.mark.parametrize(
    ("environment", "sentence"),
    [
        ({"PGSSLMODE": "no-verify"}, "PGSSLMODE must be disable, allow"),
        ({"ALL_PROXY": "socks5://127.0.0.1:1080"}, "ALL_PROXY is a socks proxy"),
        ({"SSL_CERT_FILE": "/nowhere.pem"}, "SSL_CERT_FILE must name a file with certificates"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "OTEL_EXPORTER_OTLP_ENDPOINT must be a URL"),
        ({**COLLECTOR, "OTEL_EXPORTER_OTLP_HEADERS": f"api key {SECRET}"}, "OTEL_EXPORTER_OTLP_HEADERS must be name=v"),
        ({**COLLECTOR, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf"),
        ({**COLLECTOR, "OTEL_EXPORTER_OTLP_TIMEOUT": "10s"}, "OTEL_EXPORTER_OTLP_TIMEOUT must be a number of seconds"),
        ({**COLLECTOR, "OTEL_BSP_SCHEDULE_DELAY": "x"}, "OTEL_BSP_SCHEDULE_DELAY must be a whole number from 1"),
        ({**COLLECTOR, "OTEL_TRACES_SAMPLER": "some"}, "OTEL_TRACES_SAMPLER must be one of always_on"),
        ({**COLLECTOR, "OTEL_TRACES_SAMPLER": "traceidratio"}, "OTEL_TRACES_SAMPLER_ARG must be the part"),
    ],
)
def test_what_a_library_reads_is_checked_like_our_own(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], sentence: str
) -> None:
    [problem] = problems(monkeypatch, **environment)
    assert problem.startswith(sentence)
    assert problem.endswith(".")
    assert SECRET not in problem


def test_what_no_library_will_read_is_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    read(monkeypatch, **EMULATED, ALL_PROXY="socks5://127.0.0.1:1080", OTEL_EXPORTER_OTLP_PROTOCOL="grpc")
    read(monkeypatch, HTTPS_PROXY="http://proxy:3128", NO_PROXY="[::1],fd02::/48,10.0.0.0/8,.local")


def test_what_opentelemetry_alone_knows_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**COLLECTOR, "OTEL_EXPORTER_OTLP_HEADERS": f"key={SECRET}"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("reactor.observability.tracing._exported", lambda: 1 / 0)
    with pytest.raises(ConfigurationError) as refused:
        traces()
    assert "one of OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_HEADERS: unset them" in str(refused.value)
    assert SECRET not in str(refused.value)


def test_a_variable_that_is_none_of_ours_is_told_with_the_nearest() -> None:
    told = list(
        unknown_variables(
            {
                "CALENDAR_SYNC_POLL_INTERVAL": "2000",
                "calendar_sync_batch_size": "10",
                "CALENDAR_SYNC_XYZZY": "red",
                "CALENDAR_SYNC_LOG_LEVEL": "info",
                "CALENDAR_SYNC_REACTOR_SERVICE_HOST": "10.0.0.1",
                "CALENDAR_SYNC_REACTOR_PORT_8080_TCP_ADDR": "10.0.0.1",
                "CALENDAR_SYNC_REACTOR_PORT": "tcp://10.0.0.1:8080",
            }
        )
    )
    assert [line.replace(" is no setting, and nothing is done with it:", "") for line in told] == [
        "CALENDAR_SYNC_LOG_LEVEL did you mean LOG_LEVEL?",
        "CALENDAR_SYNC_POLL_INTERVAL did you mean CALENDAR_SYNC_POLL_INTERVAL_MS?",
        "CALENDAR_SYNC_XYZZY docs/reference/configuration.md lists the settings.",
    ]


ODD = st.sampled_from(
    ["Zq\n", " Zq", "Zq://Zq", "[Zq", "http://[Zq/", "-1", "1e400", "٣", "\udc80Zq", "/", "0" * 5_000, "[::1]:"]
)


@settings(max_examples=40)
@given(
    st.dictionaries(
        st.sampled_from([*GIVEN, *OF_LIBRARIES, "HEALTH_BIND", "GOOGLE_API_ROOT", "LOG_LEVEL"]), ODD, max_size=3
    )
)
@example({"GOOGLE_API_ROOT": "http://[Zq/", "ALL_PROXY": "http://[Zq/"})
def test_whatever_is_set_is_read_or_refused_in_sentences(environment: dict[str, str]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        try:
            read(patched, **environment)
        except ConfigurationError as error:
            named = {line.split()[0] for line in str(error).splitlines() if line.endswith(".")}
            assert named <= {*GIVEN, *environment, "GOOGLE_TOKEN_URI"}
            said = [line for line in str(error).splitlines() if "entry 1 ('Zq')" not in line]  # the name of a key
            assert not any("Zq" in line for line in said)


def test_what_is_passed_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GIVEN.items():
        monkeypatch.setenv(name, value)
    assert Settings.from_environment(health_bind="127.0.0.1:0").health_bind == "127.0.0.1:0"


def test_addresses() -> None:
    assert parse_bind("0.0.0.0:80") == ("0.0.0.0", 80)
    assert parse_bind("[::1]:0") == ("::1", 0)
    assert parse_bind("*:8080") == parse_bind("[::]:8080") == (None, 8080)
    for wrong in ("", "80", ":80", "host:80", "127.0.0.1", "127.0.0.1:70000", "127.0.0.1:x"):
        with pytest.raises(ConfigurationError):
            parse_bind(wrong)
