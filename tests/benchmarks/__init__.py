"""Benchmarks: each puts the contender beside us in the same run and prints the ratio."""
