"""What an operator asks, of a real database."""
