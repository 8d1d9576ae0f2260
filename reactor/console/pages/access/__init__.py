"""Pages about access to calendars: connections, invitations, and what an invited person sees."""
