"""What endpoints are asked for: queries judged, answers generated, answers judged."""
