"""`tokens`: the stored refresh tokens and their keys.

A re-encrypted token is the same consent. The reactor knows it by its content (reactor/credential_store.py), so it
fetches no access token anew; an item that fails meanwhile with the former text marks nothing invalid and is tried again
(reactor/postgres/settling.py). If another program stores a token at the same time, that one wins: every write here
requires that the text we read is still stored.
"""

from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

import typer

from reactor.commands.options import AsJson, DatabaseUrl, DryRun, Reason, author
from reactor.commands.output import note, print_json, print_table, progress, sentences
from reactor.desk import act_run
from reactor.desk.act_run import ActRun
from reactor.desk.acts import ActAuthor, ActKind
from reactor.postgres.connection.admin import AdminSession, open_admin_session
from reactor.postgres.statements import statements
from reactor.settings import DatabaseSettings, EncryptionSettings
from reactor.token_encryption import TokenCipher, TokenCipherError

SQL = statements("connections")
PORTION = 200  # rows that are read at a time; each is written by itself
TRIES = 3  # for a row that changes between the look and the write

app = typer.Typer(name="tokens", help="Refresh tokens at rest.", rich_markup_mode="markdown", no_args_is_help=True)


@dataclass
class _Report:
    """The outcomes, with how many tokens have each."""

    counts: Counter[str] = field(default_factory=Counter)
    problems: dict[UUID, str] = field(default_factory=dict)


@app.command(
    epilog="""Examples:

    python -m reactor tokens rotate --dry-run

    TOKEN_ENCRYPTION_KEYS="k2:…,k1:…" python -m reactor tokens rotate"""
)
def rotate(
    *, reason: Reason = None, dry_run: DryRun = False, as_json: AsJson = False, database_url: DatabaseUrl = None
) -> None:
    """Encrypt every stored token with the first key of TOKEN_ENCRYPTION_KEYS.

    First roll out the new key in front of the old one everywhere; then run this, while everything goes on; then take
    the old key away. May be broken off and run again. A token that Google or a person replaces at the same moment is
    not overwritten. One that cannot be decrypted is left as it is and named.

    Exit codes: 0 all have the first key; 1 some could not be decrypted; 2 a wrong setting or no database.
    """
    with sentences():
        keys = EncryptionSettings.from_environment()
        settings = DatabaseSettings.from_environment(database_url=database_url)
        with open_admin_session(settings.database_url.get_secret_value(), name="tokens rotate") as admin:
            report = _rotate(admin, keys.token_cipher, author(reason), dry_run=dry_run)
    counts = {name: report.counts[name] for name in ("rotated", "current", "replaced", "failed")}
    if as_json:
        problems = {str(workspace): problem for workspace, problem in report.problems.items()}
        print_json({**counts, "dry_run": dry_run, "problems": problems})
    else:
        done = "would be encrypted anew" if dry_run else "encrypted anew"
        note(f"{counts['rotated']:,} {done}, {counts['current']:,} had the first key already.")
        if counts["replaced"]:
            note(f"{counts['replaced']:,} kept changing meanwhile and are left to their writers: run it again.")
        if report.problems:
            print_table(
                ("workspace", "problem"),
                report.problems.items(),
                title="Left as they are: add the key, or connect them again with `python -m reactor connect`",
            )
    raise typer.Exit(1 if report.problems or counts["replaced"] else 0)


def _rotate(admin: AdminSession, cipher: TokenCipher, by: ActAuthor, *, dry_run: bool) -> _Report:
    report, of = _Report(), admin.one(SQL["how_many"])["n"]
    if dry_run:
        _rotate_all(admin, cipher, report, None, of=of)
    else:
        run = act_run.begin(admin, by, ActKind.ROTATE, of=of)
        with act_run.ending(admin, run):
            _rotate_all(admin, cipher, report, run, of=of)
    return report


def _rotate_all(admin: AdminSession, cipher: TokenCipher, report: _Report, run: ActRun | None, *, of: int) -> None:
    after: UUID | None = None
    with progress("Encrypting", of) as advance:
        while (portion := admin.rows(SQL["tokens_after"], after=after, rows=PORTION)) and not (run and run.stops):
            for row in portion:
                after = row["workspace"]
                try:
                    report.counts[_renew(admin, cipher, row["workspace"], row["stored"], dry_run=run is None)] += 1
                except TokenCipherError as error:
                    report.counts["failed"] += 1
                    report.problems[row["workspace"]] = str(error)
                advance(1)
            if run:
                run.proceed(admin, report.counts["rotated"])


def _renew(admin: AdminSession, cipher: TokenCipher, workspace: UUID, stored: str, *, dry_run: bool) -> str:
    """Encrypt one token anew; return the outcome.

    Raises:
        TokenCipherError: It cannot be decrypted.
    """
    for _ in range(TRIES):
        if not cipher.needs_rotation(stored):
            return "current"
        renewed = cipher.rotate(workspace, stored)
        if dry_run or admin.rows(SQL["reencrypt"], workspace=workspace, old=stored, new=renewed):
            return "rotated"
        found = admin.row(SQL["stored_token"], workspace_id=workspace)
        if found is None:
            return "current"  # the connection is gone, and its token with it
        stored = found["refresh_token_encrypted"]
    return "replaced"
