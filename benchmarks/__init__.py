"""Figures. `python -m benchmarks` runs all of them, `python -m benchmarks NAME ...` some."""
