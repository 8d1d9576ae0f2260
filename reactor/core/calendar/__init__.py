"""What to ask Google for an item, and what its answers mean."""
