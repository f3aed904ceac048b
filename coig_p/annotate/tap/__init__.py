"""Preference data from a taxonomy, with no seed queries (TaP): types, prompts, pairs in both orders."""
