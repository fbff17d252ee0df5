"""What a shell completes the values of options to: the names that the registries hold, looked up when it asks."""


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

    return [name for name in list_methods() if name.startswith(incomplete)]


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

    return [name for name in ("auto", *list_decision_rules()) if name.startswith(incomplete)]


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

    return [name for name in list_metrics() if name.startswith(incomplete)]


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

    return [name for name in list_optimizers() if name.startswith(incomplete)]
