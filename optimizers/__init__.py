"""Black-box search for weights on the simplex; knows nothing of labels, images or torch."""

from optimizers._minimize import minimize
from optimizers._simplex import project_to_simplex
from optimizers.registry import list_optimizer_options, list_optimizers, register_optimizer, unregister_optimizer
from optimizers.result import OptimizationResult

__all__ = [
    "OptimizationResult",
    "list_optimizer_options",
    "list_optimizers",
    "minimize",
    "project_to_simplex",
    "register_optimizer",
    "unregister_optimizer",
]
