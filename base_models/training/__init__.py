"""Training one member on one fold, straight down: task, loop, losses, schedules, checkpoints."""

from stacking._earlier_names import names_of_the_module

__getattr__ = names_of_the_module(__name__, "base_models.training.member")
