"""Where work runs: items in, results out in the same order."""
