"""What decides about an event, in sentences for a person."""
