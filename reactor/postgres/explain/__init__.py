"""What `explain` and the console's search read: the source that a person names, and all about its event."""
