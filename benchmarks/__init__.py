"""Figures, not tests: `python -m benchmarks NAME --json`. Process CPU time, warmed up, repeated, the median reported."""
