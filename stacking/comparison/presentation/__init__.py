"""A comparison as sections of a report."""

from stacking._earlier_names import names_of_the_module

__getattr__ = names_of_the_module(__name__, "stacking.comparison.presentation.report")
