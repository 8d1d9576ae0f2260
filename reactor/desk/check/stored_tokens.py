"""Checks whether the stored credentials can be used: whether our keys decrypt them, and whether a client is there."""

import os
from collections import Counter

from reactor.desk.check.finding import CheckFinding, CheckVerdict, Findings, Given
from reactor.errors import ConfigurationError
from reactor.google.endpoints import NO_CLIENT
from reactor.postgres.connection.admin import AdminSession
from reactor.postgres.statements import statements
from reactor.settings import EncryptionSettings
from reactor.token_encryption import TokenCipher, TokenCipherError

SQL = statements("connections")
PORTION = 1_000
CAP = 10_000
"""Stored tokens that are decrypted at most."""


def decryption(admin: AdminSession, given: Given) -> Findings:
    """Decrypt stored tokens, up to `CAP` of them; report only counts."""
    try:
        cipher = EncryptionSettings.alone(**given).token_cipher
    except ConfigurationError:
        yield CheckFinding(
            "tokens", CheckVerdict.FAIL, "not looked at: TOKEN_ENCRYPTION_KEYS is missing or wrong, see above"
        )
        return
    counts, advice = _decrypt_all(admin, cipher)
    for kind, text in advice.items():
        ours = issubclass(kind, ConfigurationError)
        remedy = "" if ours else "; connect these workspaces again with `python -m reactor connect`"
        verdict = CheckVerdict.FAIL if ours else CheckVerdict.WARN
        yield CheckFinding("tokens", verdict, f"{counts[kind]:,} of {counts.total():,}: {text}{remedy}")
    if counts["old"]:
        text = f"{counts['old']:,} decrypt, but not with the first key: run `python -m reactor tokens rotate`"
        yield CheckFinding("tokens, first key", CheckVerdict.WARN, text)
    if not advice:
        which = f"all {counts.total():,}" if counts.total() < CAP else f"the first {CAP:,}"
        yield CheckFinding("tokens", CheckVerdict.OK, f"{which} stored tokens decrypt")


def client(admin: AdminSession, given: Given) -> Findings:
    """Whether there are refresh tokens where there is no OAuth client."""
    named = given.get("google_client_id") or os.environ.get("GOOGLE_CLIENT_ID")
    if named == NO_CLIENT and (found := admin.one(SQL["of_persons"])["n"]):
        text = f"{found:,} refresh tokens are stored, which need an OAuth client, and GOOGLE_CLIENT_ID is none"
        yield CheckFinding("tokens, client", CheckVerdict.FAIL, text)


def _decrypt_all(admin: AdminSession, cipher: TokenCipher) -> tuple[Counter[object], dict[type[TokenCipherError], str]]:
    counts: Counter[object] = Counter()
    advice: dict[type[TokenCipherError], str] = {}
    after = None
    while counts.total() < CAP and (portion := admin.rows(SQL["tokens_after"], after=after, rows=PORTION)):
        for row in portion:
            after = row["workspace"]
            try:
                cipher.decrypt(after, row["stored"])
            except TokenCipherError as error:
                counts[type(error)] += 1
                advice.setdefault(type(error), str(error))
            else:
                counts["old" if cipher.needs_rotation(row["stored"]) else "current"] += 1
    return counts, advice
