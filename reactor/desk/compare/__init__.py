"""Compares calendars with what the application wants: under the command `drift` and the page of a workspace's drift."""
