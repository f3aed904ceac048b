"""From what was observed to pairs: which rows, which two responses, in which columns and order."""
