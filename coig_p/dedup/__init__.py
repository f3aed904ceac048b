"""Near-duplicates: found by MinHash, decided by exact Jaccard."""
