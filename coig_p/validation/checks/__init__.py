"""The functions that look for faults: in texts, in rows, in a store as a whole."""
