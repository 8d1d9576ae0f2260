"""Makes Google Calendar agree with a Postgres outbox."""

__version__ = "0.2.0"
