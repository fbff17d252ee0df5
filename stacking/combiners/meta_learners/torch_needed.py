"""Torch, which only the methods that train networks need: where it is absent, one sentence says what to install."""

from __future__ import annotations

from importlib import import_module


def check_torch(method: str) -> None:
    """Raise unless torch is installed.

    Parameters
    ----------
    method : str
        What wants it.

    Raises
    ------
    ModuleNotFoundError
        If it is absent.
    """
    try:
        import_module("torch")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"method {method} trains with torch, which is not installed: pip install 'labelstack[train]'.",
            name="torch",
        ) from error
