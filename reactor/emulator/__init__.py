"""A Google Calendar for tests and demos: in memory, faithful, faulty on demand."""
