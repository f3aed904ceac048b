"""A release folder on its way to a Hub: read, planned, staged, verified, promoted, tagged."""
