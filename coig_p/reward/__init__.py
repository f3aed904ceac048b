"""Reward models: benchmarks that say how well one tells better answers from worse."""
