"""The errors that this project raises.

Four meanings, not one class per subsystem: something is configured wrongly, something may work later, something will
never work, a claim is not ours any more. Foreign errors are mapped to these at the adapters, with ``raise ... from``.
Messages are sentences that say what to do; they never contain secrets, tokens or texts of events.
"""


class ReactorError(Exception):
    """Base of every error that this project raises on purpose."""


class ConfigurationError(ReactorError):
    """A setting, a key, the schema or the kind of database session is wrong; a person has to change it."""


class TransientError(ReactorError):
    """It did not work now and may work later."""


class PermanentError(ReactorError):
    """It will not work, however often it is tried."""


class ClaimLostError(ReactorError):
    """The claim is not ours any more; whatever was done must not be written."""


class RefusedError(TransientError):
    """The database refused a statement; nothing was changed, and the session goes on.

    Attributes:
        sqlstate: The server's five characters, https://www.postgresql.org/docs/current/errcodes-appendix.html; empty
            where the refusal came without one.
    """

    def __init__(self, sqlstate: str) -> None:
        super().__init__(f"The database refused: {sqlstate or 'no SQLSTATE'}.")
        self.sqlstate = sqlstate
