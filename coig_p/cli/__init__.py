"""The commands: parse, call, print. click and rich are used here alone."""
