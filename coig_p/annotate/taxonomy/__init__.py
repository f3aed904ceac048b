"""A tree of subjects that queries are made for (TaP, section 3.1): nodes, files, and which of them are taken."""
