"""The whole: processes, a database and the emulator, and what can happen to them."""
