"""Checks a connection string, and libpq's variables, without connecting.

What libpq can report before it opens a socket is a wrong setting and not an outage: a second try would be refused too.
We let libpq check most of it itself, against a server at no address; what it reads later (numbers, files) is checked
here.

A connection string holds a password, and one that was not escaped falls into pieces that look like a port, a database
or a parameter. So we never repeat any of it: parameters are named from our own lists, or by their place.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import suppress
from difflib import get_close_matches
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import Conninfo, PGconn

from reactor.errors import ConfigurationError

_URL = re.compile(r"postgres(?:ql)?://")
_OTHER_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.:-]*://")
_NOWHERE = "/reactor-asks-without-connecting"  # a directory for a socket; there is none
_SHAPE = "postgresql://user:password@host:port/database"
_ESCAPES = "in a user name or a password, write / as %2F, @ as %40, ? as %3F, # as %23, % as %25"
_REFUSED = re.compile(
    r'FATAL: .*(?:parameter "(?P<name>[\w.]+)"|-\S+( \S*)? requires a value|invalid command-line argument'
    r"|unsupported startup parameter)"  # a pooler's words
)
_TLS = "TLSv1.2 or TLSv1.3"
_VALUES: Mapping[str, str] = {
    "sslmode": "must be disable, allow, prefer, require, verify-ca or verify-full (no-verify of other drivers is "
    "require; sslrootcert=system wants verify-full)",
    "channel_binding": "must be disable, prefer or require",
    "gssencmode": "must be disable, prefer or require",
    "keepalives": "must be 0 or 1",
    "load_balance_hosts": "must be disable or random",
    "port": "must be a number from 1 to 65535: one for all hosts, or one for each",
    "service": "must name a service in a file that is there (PGSERVICEFILE, or ~/.pg_service.conf)",
    "sslcertmode": "must be disable, allow or require",
    "sslnegotiation": "must be postgres or direct (direct wants sslmode=require or more)",
    "ssl_min_protocol_version": f"must be {_TLS}",
    "ssl_max_protocol_version": f"must be {_TLS}",
    "target_session_attrs": "must be primary, or read-write (nothing can be written elsewhere)",
}
_NEEDLESS = "leave it out"
_NO_SCHEMA = "leave it out: the reactor's tables are in the schema public"
_FOREIGN: Mapping[str, str] = {
    "pgbouncer": "leave it out, and give the direct connection or a pooler in session mode",
    "ssl": "write sslmode=require",
    "sslaccept": "write sslmode=require, or sslmode=verify-full",
    "sslidentity": "write sslcert and sslkey, with the names of files",
    "schema": _NO_SCHEMA,
    "currentSchema": _NO_SCHEMA,
    "search_path": _NO_SCHEMA,
    **dict.fromkeys(
        (
            *("connection_limit", "pool_timeout", "pool_size", "pool_mode", "poolmode", "max_conns", "max_overflow"),
            *("socket_timeout", "statement_cache_size", "prepared_statement_cache_size", "prepared_statements"),
            *("prepareThreshold", "statement_timeout", "command_timeout", "uselibpqcompat", "workaround", "supa"),
            *("charset", "stringtype", "reWriteBatchedInserts", "ApplicationName", "timezone", "async_fallback"),
        ),
        _NEEDLESS,
    ),
}
"""Parameters of other drivers (Prisma, JDBC, SQLAlchemy, node-postgres), and what to do."""


def check_dsn(dsn: str) -> None:
    """Make sure that libpq can work with a connection string.

    Raises:
        ConfigurationError: It cannot; the message is the end of a sentence that begins with the setting's name.
    """
    if wrong := _misshapen(dsn):
        raise ConfigurationError(wrong)
    try:
        given = conninfo_to_dict(dsn)
    except psycopg.Error:  # its text quotes the string, password and all
        given = None
    if given is None:
        raise ConfigurationError(_unknown_parameter(dsn) or f"cannot be read: it is {_SHAPE}; {_ESCAPES}")
    for keyword, wanted in _objections({name: str(value) for name, value in given.items()}):
        if keyword in given:
            raise ConfigurationError(f"has a parameter {keyword} that cannot be used: it {wanted}")


def _misshapen(dsn: str) -> str | None:
    """What is wrong with its form, as the end of a sentence."""
    if not dsn.isprintable() and dsn == dsn.strip():
        return "holds a line break, or something else that cannot be printed: take it out"
    if dsn != dsn.strip():
        return "begins or ends with a space or a line break, which a file or a shell has added: take it away"
    if dsn[:1] in ("'", '"'):
        return "stands in quotation marks: take them away"
    if not _URL.match(dsn) and _OTHER_URL.match(dsn):
        return f"must begin with postgresql:// and nothing else before it: {_SHAPE}"
    if _URL.match(dsn) and _is_unescaped(dsn.partition("://")[2]):
        return f"holds a user name or a password with a character that means something in a URL: {_ESCAPES}"
    return None


def _is_unescaped(rest: str) -> bool:
    """Whether an `@` is left where hosts and the database stand: whatever is before it belongs to a password."""
    before, at, after = rest.partition("@")
    where = after if at and "/" not in before else rest
    return "@" in where.partition("?")[0]


def _unknown_parameter(dsn: str) -> str | None:
    """The first parameter that libpq does not know, as the end of a sentence; None where that is not the problem."""
    query = dsn.partition("?")[2] if _URL.match(dsn) else ""
    if not query or "@" in query:
        return None
    for place, each in enumerate(query.split("&"), 1):
        name = each.partition("=")[0]
        if _reads(f"postgresql:///?{each}"):
            continue
        if name in _FOREIGN:
            return f"has the parameter {name}, which is another driver's: {_FOREIGN[name]}"
        known = [option.keyword.decode() for option in Conninfo.get_defaults()]
        if name in known:
            return f"has a parameter {name} whose value cannot be read: write = as %3D, & as %26, % as %25"
        near = get_close_matches(name.lower(), known, 1, 0.75)
        advice = f"is it {near[0]}?" if near else _NEEDLESS
        return f"has a parameter that PostgreSQL does not know, number {place} after the question mark: {advice}"
    return None


def _reads(dsn: str) -> bool:
    try:
        conninfo_to_dict(dsn)
    except psycopg.Error:
        return False
    return True


def libpq_problems(environment: Mapping[str, str]) -> list[str]:
    """List what is wrong with libpq's own variables (PGSSLMODE, …), a sentence for each."""
    known = {option.keyword.decode(): option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar}
    given = {keyword: environment[name] for keyword, name in known.items() if environment.get(name)}
    if not given:
        return []
    return [f"{known[keyword]} {wanted}." for keyword, wanted in _objections(given) if keyword in given]


def _objections(given: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """The parameters that cannot be used, each with what it must be."""
    odd = [keyword for keyword, value in given.items() if not value.isprintable()]
    if odd:
        yield from ((keyword, "must not hold a line break, or what cannot be printed") for keyword in odd)
        return
    if keyword := _objected(given):
        yield (
            keyword,
            _VALUES.get(
                keyword,
                "is not what PostgreSQL takes there: see its documentation of connection parameters, or leave it out",
            ),
        )
        return
    if given.get("keepalives", "1").strip() not in ("0", "1"):
        yield "keepalives", _VALUES["keepalives"]
    if given.get("sslmode") == "disable":
        return
    for keyword in ("sslrootcert", "sslcert", "sslkey", "sslcrl"):
        path = given.get(keyword)
        if path and not (keyword == "sslrootcert" and path == "system") and not (keyword == "sslkey" and ":" in path):
            if not _readable(path):
                yield keyword, "must name a file that is there and can be read"
            elif keyword == "sslkey" and _is_open(Path(path)):
                yield keyword, "must name a file that others may not read (mode 0600, or 0640 where root owns it)"
    if given.get("sslmode") in ("verify-ca", "verify-full") and not _roots(given):
        yield "sslmode", "asks for a root certificate: give sslrootcert, the name of a file, or `system`"


def _objected(given: Mapping[str, str]) -> str | None:
    """The parameter that libpq objects to before it would connect."""
    hosts = given.get("hostaddr") or given.get("host") or os.environ.get("PGHOST", "")
    nowhere = ",".join([_NOWHERE] * (hosts.count(",") + 1))
    asked = {**given, "host": nowhere, "hostaddr": "", "password": "-"}  # without one it would look for a file
    attempt = PGconn.connect_start(make_conninfo(**asked).encode())
    try:
        said = attempt.error_message.decode("utf-8", "replace")
    finally:
        attempt.finish()
    if not said or _NOWHERE in said:
        return None
    known = {option.keyword.decode() for option in Conninfo.get_defaults()}
    return next((word for word in re.findall("[a-z_]+", said) if word in known), "service")


def _readable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.R_OK)  # noqa: PTH113  (a path that cannot be one is no error)


def _is_open(path: Path) -> bool:
    """Whether libpq refuses a key for its permissions, https://www.postgresql.org/docs/current/libpq-ssl.html."""
    found = path.stat()
    others = stat.S_IRWXO | (stat.S_IWGRP | stat.S_IXGRP if found.st_uid == 0 else stat.S_IRWXG)
    return bool(found.st_mode & others)


def _roots(given: Mapping[str, str]) -> bool:
    """Whether there are certificates to verify a server by."""
    if given.get("sslrootcert") or os.environ.get("PGSSLROOTCERT"):
        return True
    with suppress(RuntimeError):  # no home
        return (Path.home() / ".postgresql" / "root.crt").is_file()
    return False


def refused_parameter(said: str) -> str | None:
    """The error where the server refuses a parameter of the connection; None for another error.

    Before a session has begun the server gives no code, only words. A server whose words are not English is taken for
    one that is away: its message is reported, and we try again.

    Args:
        said: The error with which connecting failed. It may repeat values; the sentence does not.
    """
    found = _REFUSED.search(said)
    if found is None:
        return None
    name = f"the parameter {found['name']}" if found["name"] else "a parameter"
    return (
        f"The server refuses {name} with which the connection begins: look at options and client_encoding in "
        "DATABASE_URL, and at PGOPTIONS, PGTZ, PGDATESTYLE, PGCLIENTENCODING and PGGEQO."
    )


def missing_dsn(environment: Mapping[str, str]) -> str:
    """Say that there is no connection string, and which one to give.

    Args:
        environment: Where the settings of the worker that went before may still be.
    """
    if environment.get("SUPABASE_URL"):
        return (
            "DATABASE_URL is not set; SUPABASE_URL is not used any more, the reactor speaks SQL. Take the connection "
            "string of the direct connection or of the session pooler (port 5432) from the project's settings, "
            "not that of the transaction pooler (port 6543)."
        )
    return "DATABASE_URL is not set: the connection string of the PostgreSQL database, postgresql://..."
