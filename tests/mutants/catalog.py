"""All mutants, those of a package in a file of their own."""

import of_base_models
import of_experiments
import of_stacking

MUTANTS = (*of_stacking.MUTANTS, *of_base_models.MUTANTS, *of_experiments.MUTANTS)
