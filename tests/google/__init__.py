"""The client of Google, and its tokens."""
