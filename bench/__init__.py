"""Benchmarks (`make bench`): programs that print a table, and check every count against what was sent."""
