"""What is stored: calendars, their events, and what Google accepts as one."""
