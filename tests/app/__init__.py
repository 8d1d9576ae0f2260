"""What stands around core, loop, postgres and google: settings, secrets, logs, metrics, health."""
