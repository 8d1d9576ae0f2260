"""What we say in SQL, on a real server."""
