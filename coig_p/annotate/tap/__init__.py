"""Preference data from a taxonomy, with no seed queries (TaP): types of questions, prompts, and pairs in both orders."""
