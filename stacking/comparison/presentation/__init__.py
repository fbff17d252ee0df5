"""A comparison as sections of a report."""
