"""The browser's view of a store: an index made once, pages that are functions of it, and a server on loopback."""
