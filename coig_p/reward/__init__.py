"""Reward models: what scores responses, and benchmarks that say how well it tells better ones from worse."""
