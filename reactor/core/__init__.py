"""Decisions without I/O: values and `now` in, a decision out.

Imports the standard library, pydantic and reactor.errors only.
"""
