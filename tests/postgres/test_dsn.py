"""A connection string that cannot work is refused at once, in a sentence that names what is wrong, not the value."""

import os
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st

from reactor.errors import ConfigurationError
from reactor.postgres.connection.dsn import check_dsn, libpq_problems, refused_parameter

SECRET = "hunter2"
URL = f"postgresql://me:{SECRET}@db.internal/app"


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("PG"):
            monkeypatch.delenv(name)


def refusal(dsn: str) -> str:
    with pytest.raises(ConfigurationError) as refused:
        check_dsn(dsn)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None, "libpq's text repeats the string"
    return str(refused.value)


@pytest.mark.parametrize(
    ("dsn", "says"),
    [
        (
            f"{URL}?pgbouncer=true",
            "the parameter pgbouncer, which is another driver's: leave it out, and give the direct",
        ),
        (f"{URL}?sslmode=require&schema=sync", "the parameter schema, which is another driver's: leave it out: the"),
        (f"{URL}?connection_limit=1", "the parameter connection_limit, which is another driver's: leave it out"),
        (f"{URL}?sslmod=require", "number 1 after the question mark: is it sslmode?"),
        (f"{URL}?sslmode=require&zz={SECRET}", "number 2 after the question mark: leave it out"),
        (f"{URL}?sslmode=no-verify", "a parameter sslmode that cannot be used: it must be disable, allow, prefer"),
        (f"{URL}?sslmode=require&sslrootcert=system", "a parameter sslmode that cannot be used"),
        (f"{URL}?channel_binding=maybe", "a parameter channel_binding that cannot be used: it must be disable, prefer"),
        (f"{URL}?target_session_attrs=master", "a parameter target_session_attrs that cannot be used: it must be prim"),
        (f"{URL}?keepalives=yes", "a parameter keepalives that cannot be used: it must be 0 or 1"),
        (f"{URL}?sslrootcert=/nowhere.pem", "a parameter sslrootcert that cannot be used: it must name a file that is"),
        (f"{URL}?service=nowhere", "a parameter service that cannot be used: it must name a service"),
        (
            f"postgresql://me:{SECRET}@db.internal:99999/app",
            "a parameter port that cannot be used: it must be a number",
        ),
        (f"postgresql://me:{SECRET}@a,b/app?port=1,2,3", "a parameter port that cannot be used"),
        (f"host=db password={SECRET} port=x", "a parameter port that cannot be used"),
        (f"{URL}\n", "begins or ends with a space or a line break"),
        (f" {URL}", "begins or ends with a space or a line break"),
        (f"{URL}?sslmode=require\r\n", "begins or ends with a space or a line break"),
        (f"{URL}\n?sslmode=require", "holds a line break"),
        (f"'{URL}'", "stands in quotation marks"),
        (f"postgresql+psycopg://me:{SECRET}@db/app", "must begin with postgresql://"),
        (f"jdbc:postgresql://db/app?password={SECRET}", "must begin with postgresql://"),
        (f"DATABASE_URL={URL}", "cannot be read"),
        (f"host=db password=x {SECRET}", "cannot be read"),
        (f"postgresql://me:%zz{SECRET}@db/app", "cannot be read"),
        (f"postgresql://me:{SECRET}@db/app?sslmode", "a parameter sslmode whose value cannot be read"),
        (f"{URL}?options=-c%20a={SECRET}", "a parameter options whose value cannot be read: write = as %3D"),
        (f"postgresql://me:\ud800{SECRET}@db/app", "something else that cannot be printed"),
    ],
)
def test_what_cannot_work_is_named(dsn: str, says: str) -> None:
    said = refusal(dsn)
    assert says in said
    assert SECRET not in said


@pytest.mark.parametrize("mark", ["/", "@", "#/", "?/", "/?", "@?", "/a=b&c@", "@?c=d&", "%"])
def test_a_password_that_was_not_escaped_is_recognised(mark: str) -> None:
    said = refusal(f"postgresql://me:{SECRET}{mark}{SECRET}@db.internal:5432/app")
    assert SECRET not in said
    assert "write / as %2F, @ as %40" in said


PASSWORD = st.text("Zq7/@#?&=%:+[], '\\é", min_size=1, max_size=12).map(lambda text: f"Zq{text}")


@given(PASSWORD, st.sampled_from(["postgresql://me:{}@db/app", "postgresql://me:{}@db:5432/app?sslmode=require"]))
@example("Zq?Zq=1&Zqq=2@Zq", "postgresql://me:{}@db/app")
def test_no_piece_of_a_password_is_repeated(password: str, form: str) -> None:
    try:
        check_dsn(form.format(password))
    except ConfigurationError as error:
        assert "Zq" not in str(error)  # noqa: PT017  (most are refused, some can be read)


@pytest.mark.parametrize(
    "dsn",
    [
        URL,
        f"{URL}?sslmode=require&application_name=me%40here&options=-c%20geqo%3Doff",
        f"postgres://me:{SECRET}#1@db/app",
        "postgresql:///app?host=/run/postgresql",
        "postgresql://a:5432,b:5433/app?target_session_attrs=read-write",
        "postgresql://[::1]:5432/app",
        f"host=db user=me password='{SECRET} x' dbname=app",
        "",
    ],
)
def test_what_can_work_is_taken(dsn: str) -> None:
    check_dsn(dsn)


def test_a_key_that_others_may_read(tmp_path: Path) -> None:
    key = tmp_path / "client.key"
    key.write_text("key")
    key.chmod(0o644)
    assert "others may not read" in refusal(f"{URL}?sslkey={key}")
    key.chmod(0o600)
    check_dsn(f"{URL}?sslkey={key}")


def test_to_verify_takes_a_certificate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert "asks for a root certificate" in refusal(f"{URL}?sslmode=verify-full")
    check_dsn(f"{URL}?sslmode=verify-full&sslrootcert=system")
    (tmp_path / ".postgresql").mkdir()
    (tmp_path / ".postgresql" / "root.crt").write_text("x")
    check_dsn(f"{URL}?sslmode=verify-full")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PGSSLMODE", "hunter2"),
        ("PGSSLROOTCERT", "/nowhere.pem"),
        ("PGPORT", "x"),
        ("PGSERVICE", "nowhere"),
        ("PGTARGETSESSIONATTRS", "master"),
        ("PGREQUIREAUTH", "x"),
        ("PGGSSENCMODE", "x"),
    ],
)
def test_a_variable_of_libpq_is_named(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(name, value)
    [said] = libpq_problems(os.environ)
    assert said.startswith(f"{name} ")
    assert said.endswith(".")
    assert value not in said
    check_dsn(URL)  # it is not to blame


def test_variables_that_can_work(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"PGHOSTADDR": "127.0.0.1", "PGSSLMODE": "require", "PGPORT": "5433", "PGUSER": "me"}.items():
        monkeypatch.setenv(name, value)
    assert libpq_problems(os.environ) == []


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (f'FATAL:  invalid value for parameter "TimeZone": "{SECRET}"', "the parameter TimeZone "),
        (f'FATAL:  unrecognized configuration parameter "a.b"\n{SECRET}', "the parameter a.b "),
        (
            'FATAL:  parameter "shared_buffers" cannot be changed without restarting the server',
            "the parameter shared_buffers ",
        ),
        (f"FATAL:  -c {SECRET} requires a value", "a parameter "),
        (f"FATAL:  --{SECRET} requires a value", "a parameter "),
        ("FATAL:  invalid command-line argument for server process: -Z", "a parameter "),
        ("FATAL:  unsupported startup parameter: geqo", "a parameter "),
    ],
)
def test_what_the_server_refuses_of_a_connections_parameters_is_a_setting(said: str, names: str) -> None:
    sentence = refused_parameter(f"connection failed: {said}") or ""
    assert sentence.startswith(f"The server refuses {names}with which the connection begins: look at options")
    assert SECRET not in sentence


@pytest.mark.parametrize(
    "said", ['FATAL:  role "me" does not exist', "FATAL:  the database system is starting up", "Connection refused"]
)
def test_what_may_be_mended_at_the_server_is_an_outage(said: str) -> None:
    assert refused_parameter(f"connection failed: {said}") is None
