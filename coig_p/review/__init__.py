"""People judge what a store says: a review is drawn, asked, read back and applied."""
