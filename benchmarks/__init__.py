"""Measurements and comparisons that take longer than tests; `python -m benchmarks NAME --help`."""
