"""Benchmarks of reward models and judges: one form for all of them, scorers run on it, and what they got right."""
