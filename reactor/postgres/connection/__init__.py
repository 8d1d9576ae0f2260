"""Connections to PostgreSQL: what they are given, how they are kept, what their errors mean."""
