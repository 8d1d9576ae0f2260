"""The pages of the console, one in a file."""
