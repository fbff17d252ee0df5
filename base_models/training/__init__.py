"""Training one member on one fold, straight down: task, loop, losses, schedules, checkpoints."""
