"""Say what this machine is: versions, devices, threads, memory and disk.

What a recipe or a set of predictions would cost on it is estimated in `experiments.estimates.estimate` and
`experiments.estimates.estimate_predictions`.
"""

import os
import platform
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from stacking.process.processors import usable_processors

PACKAGES = (
    "labelstack",
    "numpy",
    "scipy",
    "pandas",
    "scikit-learn",
    "lightgbm",
    "pyswarms",
    "cmaes",
    "joblib",
    "numba",
    "pillow",
    "matplotlib",
    "torch",
    "torchvision",
    "timm",
    "safetensors",
    "accelerate",
    "pyarrow",
    "distributed",
    "ray",
)
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Fact:
    """One line of the examination.

    Attributes
    ----------
    topic : str
        What was looked at.
    finding : str
        What was found.
    trouble : str, default=''
        What will go wrong because of it and what to do; empty when all is well.
    """

    topic: str
    finding: str
    trouble: str = ""


def examine(folder: str | Path = ".") -> list[Fact]:
    """Look at versions, devices, threads, memory and disk.

    Parameters
    ----------
    folder : str or Path, default='.'
        Folder whose disk results will be written to.

    Returns
    -------
    list of Fact
        In the order in which they are best read.
    """
    return [
        Fact("python", f"{platform.python_version()} on {platform.system()} {platform.machine()}, {sys.executable}"),
        *_package_findings(),
        processors(),
        devices(),
        memory(),
        disk(Path(folder)),
    ]


def _package_findings() -> list[Fact]:
    """List installed versions and the packages that are absent."""
    from stacking.files.versions import installed_versions

    versions = installed_versions(PACKAGES)
    absent = [name for name in PACKAGES if name not in versions]
    findings = [Fact("packages", ", ".join(f"{name} {version}" for name, version in versions.items()))]
    if "torch" in absent:
        findings.append(
            Fact(
                "training", "torch is not installed", "train and predict --images need pip install 'labelstack[train]'"
            )
        )
    if absent:
        findings.append(Fact("not installed", ", ".join(absent) + " (optional)"))
    return findings


def processors() -> Fact:
    """Count the processors this process may use and report thread limits.

    Returns
    -------
    Fact
        Processors and thread variables.
    """
    limits = [f"{name}={os.environ[name]}" for name in THREAD_VARIABLES if name in os.environ]
    limited = f", {', '.join(limits)}" if limits else ""
    return Fact("processors", f"{usable_processors()} usable of {os.cpu_count()}{limited}")


def devices() -> Fact:
    """Name the devices that torch can compute on.

    Returns
    -------
    Fact
        CPU alone, or the accelerators with their memory and the driver.
    """
    try:
        import torch
    except ModuleNotFoundError:
        return Fact("devices", "cpu (no torch)")
    found = [f"cpu ({torch.get_num_threads()} threads)"]
    if torch.cuda.is_available():
        for index in range(torch.cuda.device_count()):
            gpu = torch.cuda.get_device_properties(index)
            found.append(f"cuda:{index} {gpu.name} {gpu.total_memory / 2**30:.0f} GiB")
        found.append(_cuda_versions())
    if torch.backends.mps.is_available():
        found.append("mps")
    return Fact("devices", ", ".join(found))


def _cuda_versions() -> str:
    """Say what CUDA torch was built for and what CUDA the driver can do."""
    import torch

    ask = getattr(torch._C, "_cuda_getDriverVersion", None)  # torch has no public name for it
    driver = int(ask()) if ask is not None else 0
    built = f"torch for CUDA {torch.version.cuda}"
    return f"{built}, driver for CUDA {driver // 1000}.{driver % 1000 // 10}" if driver else built


def name_device(device: str) -> str:
    """Name a device for readers.

    Parameters
    ----------
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Returns
    -------
    str
        ``"this CPU"``, or the name of the card.
    """
    if not device.startswith("cuda"):
        return "this CPU" if device == "cpu" else device
    import torch

    return f"{torch.cuda.get_device_properties(device).name} ({device})"


def memory() -> Fact:
    """Report total and available memory.

    Returns
    -------
    Fact
        In GiB; trouble below 2 GiB.
    """
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        sizes = {line.partition(":")[0]: int(line.split()[1]) * 1024 for line in lines}
        total, free = sizes["MemTotal"], sizes["MemAvailable"]
    except (OSError, KeyError, ValueError, IndexError):
        return Fact("memory", "unknown on this system")
    low = "less than 2 GiB is free: training and per-label learners may be killed" if free < 2 * 2**30 else ""
    return Fact("memory", f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB available", low)


def disk(folder: Path) -> Fact:
    """Report free disk space and whether the folder can be written.

    Parameters
    ----------
    folder : Path
        Folder, or one that will be made; the nearest that exists is examined.

    Returns
    -------
    Fact
        Free GiB; trouble when it cannot be written or holds less than 1 GiB.
    """
    folder = _nearest(folder)
    free = free_disk(folder)
    trouble = ""
    if not os.access(folder, os.W_OK):
        trouble = "this folder cannot be written: choose another --out"
    elif free < 2**30:
        trouble = "less than 1 GiB is free: a run may stop with a full disk"
    return Fact("disk", f"{free / 2**30:.1f} GiB free at {folder}", trouble)


def free_disk(folder: Path) -> int:
    """Return the free bytes where a folder is or will be.

    Parameters
    ----------
    folder : Path
        It need not exist.

    Returns
    -------
    int
        Bytes.
    """
    return shutil.disk_usage(_nearest(folder)).free


def _nearest(folder: Path) -> Path:
    """Return the nearest folder that exists."""
    folder = folder.resolve()
    while not folder.exists():
        folder = folder.parent
    return folder


def device_memory(device: str) -> int:
    """Return the memory of a GPU.

    Parameters
    ----------
    device : str
        ``"cpu"``, ``"cuda"`` or ``"cuda:N"``.

    Returns
    -------
    int
        Bytes; 0 for a CPU, and where torch does not tell.
    """
    if not device.startswith("cuda"):
        return 0
    import torch

    return int(getattr(torch.cuda.get_device_properties(device), "total_memory", 0))


def as_text(findings: list[Fact]) -> list[str]:
    """Lay the findings out as lines of text.

    Parameters
    ----------
    findings : list of Fact
        What `examine` or `estimate` returned.

    Returns
    -------
    list of str
        One line per fact and one per trouble.

    Examples
    --------
    >>> as_text([Fact("disk", "0.2 GiB free", "too little")])
    ['disk: 0.2 GiB free', '  ! too little']
    """
    lines: list[Any] = []
    for fact in findings:
        lines.append(f"{fact.topic}: {fact.finding}")
        if fact.trouble:
            lines.append(f"  ! {fact.trouble}")
    return lines


def duration(seconds: float) -> str:
    """Write a length of time the way people say it.

    Parameters
    ----------
    seconds : float
        Not negative.

    Returns
    -------
    str
        In seconds, minutes or hours.

    Examples
    --------
    >>> duration(42), duration(600), duration(9000)
    ('42 s', '10 min', '2.5 h')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
