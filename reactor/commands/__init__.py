"""The operator's commands: one file each, a few lines over the part that does the work."""
