"""Access to calendars: the consent of a person, and the invitation to give it."""
