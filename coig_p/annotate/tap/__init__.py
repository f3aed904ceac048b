"""Preference data from a taxonomy of subjects, without seed queries (TaP, section 3)."""
