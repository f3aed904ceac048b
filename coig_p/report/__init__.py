"""What people read of a store: plots and the dataset card."""
