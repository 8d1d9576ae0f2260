"""The product in one command: a database, a Google Calendar, an application and the reactor, all of them here."""
