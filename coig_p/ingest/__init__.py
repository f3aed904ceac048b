"""Files that people have, into a store: read, recognised, checked, counted."""
