"""What a store and its pairs hold, in numbers."""
