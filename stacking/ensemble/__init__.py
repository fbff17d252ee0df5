"""A fitted combiner with its thresholds, and the folder that it is saved in."""

from stacking._earlier_names import names_of_the_module

__getattr__ = names_of_the_module(__name__, "stacking.ensemble.ensemble")
