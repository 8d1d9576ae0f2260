"""Fixtures shared by the whole suite."""

from hypothesis import HealthCheck, settings

# Machines are shared: no deadline per example, and a slow first example is not a failure.
settings.register_profile("default", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("default")

pytest_plugins = ["tests.google_fixtures"]
