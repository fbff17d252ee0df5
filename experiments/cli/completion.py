"""What a shell completes the values of options to: the names that the registries hold, looked up when it asks."""

from collections.abc import Iterable


def complete_method(incomplete: str) -> list[str]:
    """Complete the name of a method.

    Parameters
    ----------
    incomplete : str
        What has been typed.

    Returns
    -------
    list of str
        Names that begin so.
    """
    from stacking.combiners.registry import list_methods

    return _beginning(list_methods(), incomplete)


def complete_methods(incomplete: str) -> list[str]:
    """Complete the last of several methods joined by commas.

    Parameters
    ----------
    incomplete : str
        What has been typed.

    Returns
    -------
    list of str
        The words so far, with each name that begins so and is not among them.
    """
    from stacking.combiners.registry import list_methods

    return _last_of_several(("all", *list_methods()), incomplete)


def complete_rule(incomplete: str) -> list[str]:
    """Complete the name of a decision rule.

    Parameters
    ----------
    incomplete : str
        What has been typed.

    Returns
    -------
    list of str
        Names that begin so.
    """
    from stacking.decision_rules import list_decision_rules

    return _beginning(("auto", *list_decision_rules()), incomplete)


def complete_rules(incomplete: str) -> list[str]:
    """Complete the last of several decision rules joined by commas.

    Parameters
    ----------
    incomplete : str
        What has been typed.

    Returns
    -------
    list of str
        The words so far, with each name that begins so and is not among them.
    """
    from stacking.decision_rules import list_decision_rules

    return _last_of_several(list_decision_rules(), incomplete)


def complete_metric(incomplete: str) -> list[str]:
    """Complete the name of a metric.

    Parameters
    ----------
    incomplete : str
        What has been typed.

    Returns
    -------
    list of str
        Names that begin so.
    """
    from stacking.metrics import list_metrics

    return _beginning(list_metrics(), incomplete)


def complete_optimizer(incomplete: str) -> list[str]:
    """Complete the name of an optimizer.

    Parameters
    ----------
    incomplete : str
        What has been typed.

    Returns
    -------
    list of str
        Names that begin so.
    """
    from optimizers import list_optimizers

    return _beginning(list_optimizers(), incomplete)


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    """List the names that begin so."""
    return [name for name in names if name.startswith(incomplete)]


def _last_of_several(names: Iterable[str], incomplete: str) -> list[str]:
    """Complete what stands behind the last comma."""
    before, comma, last = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in _beginning(names, last) if name not in before.split(",")]
