"""Checks everything that the service needs: under the command `check` and the page of the same name."""
