"""The emulator of Google."""
