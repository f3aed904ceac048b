"""Views: pairs that are decoded where rows leave, from texts that all thresholds share.

texts (a store's raw rows as one Arrow file) -> indexing (which texts each row shows) -> table (what datasets reads).
"""
