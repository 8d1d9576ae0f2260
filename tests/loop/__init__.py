"""The loop among fakes, under virtual time."""
