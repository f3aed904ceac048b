"""The page on which people answer: their own tasks, and no model, score or choice of the store."""
