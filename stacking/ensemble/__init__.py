"""A fitted combiner with its thresholds, and the folder that it is saved in."""
