"""What a shell completes the values of options to: the names that the registries hold, looked up when it asks."""

from collections.abc import Callable, Sequence
from importlib import import_module


def _completion(
    registry: str, lister: str, *, before: Sequence[str] = (), several: bool = False
) -> Callable[[str], list[str]]:
    """Complete names that a function of a module lists, `before` them others; of several joined by commas the last."""

    def complete(incomplete: str) -> list[str]:
        typed, comma, last = incomplete.rpartition(",") if several else ("", "", incomplete)
        names = (*before, *getattr(import_module(registry), lister)())
        return [f"{typed}{comma}{name}" for name in names if name.startswith(last) and name not in typed.split(",")]

    return complete


complete_method = _completion("stacking.combiners.registry", "list_methods")
complete_methods = _completion("stacking.combiners.registry", "list_methods", before=["all"], several=True)
complete_rule = _completion("stacking.decision_rules", "list_decision_rules", before=["auto"])
complete_rules = _completion("stacking.decision_rules", "list_decision_rules", several=True)
complete_metric = _completion("stacking.metrics", "list_metrics")
complete_optimizer = _completion("optimizers", "list_optimizers")
