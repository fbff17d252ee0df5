"""Which versions of packages are installed, as results record them."""

from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version


def installed_versions(packages: Iterable[str], *, absent: str | None = None) -> dict[str, str]:
    """Look up the versions of distributions.

    Parameters
    ----------
    packages : iterable of str
        Names of distributions.
    absent : str, optional
        What stands for one that is not installed; by default it is left out.

    Returns
    -------
    dict of str to str
        Version by name.

    Examples
    --------
    >>> sorted(installed_versions(["numpy", "no-such-package"]))
    ['numpy']
    """
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            if absent is not None:
                found[package] = absent
    return found
