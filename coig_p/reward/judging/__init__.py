"""Judges that write: what they are asked of two responses or of one, what is read in it, and data to train them with.

All asking goes through `coig_p.annotate.asking` and its ledger, so that nothing is paid twice.
"""
