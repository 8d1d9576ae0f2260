"""The judge of calendars."""
