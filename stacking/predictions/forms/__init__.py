"""The forms in which predictions and truth lie on disk, and the ways from one to another."""
