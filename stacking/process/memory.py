"""How much memory there is, asked before much of it is taken.

A process that takes more than there is gets killed by the system without a word. So whoever is about to allocate
something large says how much and what for, and is refused in one sentence where that is more than the system has left.
"""

from __future__ import annotations

from pathlib import Path

GIB = 2**30
"""Bytes, here and wherever memory or a disk is spoken of."""
SMALL = 2**28
"""Below a quarter GiB nobody is asked: the answer costs a system call, and no system that runs this lacks it."""
_GROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
_GROUP_USES = ("/sys/fs/cgroup/memory.current", "/sys/fs/cgroup/memory/memory.usage_in_bytes")


def available_memory() -> int | None:
    """Find how much memory this process can still take.

    Returns
    -------
    int or None
        Bytes: what the system has left, what the control group (container) leaves, and what the limit of the address
        space leaves, whichever is least; None where the system does not say.
    """
    of_system = read_kernel_size("/proc/meminfo", "MemAvailable")  # what can be had without swapping
    found = [size for size in (of_system, _of_group(), _of_address_space()) if size is not None]
    return min(found, default=None)


def check_memory(needed: float, what: str, remedy: str) -> None:
    """Refuse what would take more memory than there is, before it is taken.

    Parameters
    ----------
    needed : float
        Bytes beyond what is held already.
    what : str
        What takes them, the beginning of the error: ``"ridge-context on 10,000 labels"``.
    remedy : str
        What to do instead, the end of the error.

    Raises
    ------
    ValueError
        If the system says that it has less.

    Examples
    --------
    >>> check_memory(1000, "a small thing", "nothing")
    """
    if needed < SMALL:
        return
    available = available_memory()
    if available is not None and needed > available:
        raise ValueError(
            f"{what} needs about {needed / GIB:.1f} GiB of memory, "
            f"of which {max(available, 0) / GIB:.1f} GiB are available: {remedy}."
        )


def read_kernel_size(path: str, name: str) -> int | None:
    """Read a size from a table of the Linux kernel.

    Parameters
    ----------
    path : str
        ``/proc/meminfo`` or ``/proc/self/status``.
    name : str
        What stands before the colon, such as ``MemAvailable`` or ``VmRSS``.

    Returns
    -------
    int or None
        In bytes; None where the system does not say.
    """
    try:
        # The file says kB and counts KiB.
        lines = Path(path).read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
    except (OSError, ValueError, IndexError, StopIteration):
        return None


def _of_group() -> int | None:
    """Return what the control group leaves; files that it caches count as used and are given back when needed."""
    for limit, used in zip(_GROUP_LIMITS, _GROUP_USES, strict=True):
        try:
            most = int(Path(limit).read_text(encoding="ascii"))
            taken = int(Path(used).read_text(encoding="ascii")) - _cached(Path(used).parent / "memory.stat")
        except (OSError, ValueError):  # no such group, or "max": no limit
            continue
        if most < 2**60:  # version 1 writes a huge number for none
            return most - taken
    return None


def _cached(path: Path) -> int:
    """Return the bytes of cached files that a control group would give back."""
    lines = path.read_text(encoding="ascii").splitlines()
    sizes = dict(line.split() for line in lines)
    return int(sizes.get("inactive_file", 0)) + int(sizes.get("active_file", 0))


def _of_address_space() -> int | None:
    """Return what the limit of the address space leaves (``ulimit -v``)."""
    try:
        import resource
    except ImportError:  # not a POSIX system
        return None
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft == resource.RLIM_INFINITY:
        return None
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return int(soft)
    return int(soft) - pages * resource.getpagesize()


def reset_peak_memory() -> bool:
    """Begin to watch the highest resident memory anew.

    Returns
    -------
    bool
        Whether the system can; Linux does.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    except OSError:
        return False
    return True


def peak_memory() -> int | None:
    """Return the highest resident memory of this process.

    Returns
    -------
    int or None
        In bytes; None where the system does not say.
    """
    return read_kernel_size("/proc/self/status", "VmHWM")
