"""What may leave for Google, and when to look for more."""
