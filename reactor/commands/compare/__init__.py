"""The command `drift`: compares calendars with what the database wants."""
