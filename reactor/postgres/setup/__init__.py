"""The schema: what it must have, and how it is made."""
