"""Check what a built wheel and a built source distribution hold; run by ``make package``.

``python tests/package_content.py dist`` prints one line per fault and exits with 1 if there is any.
"""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = {"base_models", "experiments", "labelstack", "optimizers", "stacking"}
NOT_SHIPPED = ("experiments/benchmarks/", "experiments/results/")  # they need a clone, or are results of ours


def tracked_files() -> set[str]:
    """List what git tracks, relative to the root."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
    return {name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()}


def faults_of_wheel(path: Path, tracked: set[str]) -> list[str]:
    """Compare the wheel with the tracked files of the packages, both ways."""
    with zipfile.ZipFile(path) as wheel:
        held = {name for name in wheel.namelist() if ".dist-info/" not in name}
        licensed = any(name.endswith("licenses/LICENSE") for name in wheel.namelist())
    wanted = {
        name for name in tracked if name.split("/")[0] in PACKAGES and "/" in name and not name.startswith(NOT_SHIPPED)
    }
    faults = [f"{path.name}: lacks {name}" for name in sorted(wanted - held)]
    faults += [f"{path.name}: holds {name}, which is not in the repository" for name in sorted(held - wanted)]
    return faults + ([] if licensed else [f"{path.name}: lacks the license"])


def faults_of_sdist(path: Path, tracked: set[str]) -> list[str]:
    """Require every tracked file in the source distribution."""
    with tarfile.open(path) as sdist:
        held = {name.partition("/")[2] for name in sdist.getnames()}
    return [f"{path.name}: lacks {name}" for name in sorted(tracked - held)]


def main() -> int:
    """Check the one wheel and the one source distribution of a folder."""
    folder, tracked = Path(sys.argv[1]), tracked_files()
    (wheel,), (sdist,) = folder.glob("*.whl"), folder.glob("*.tar.gz")
    faults = faults_of_wheel(wheel, tracked) + faults_of_sdist(sdist, tracked)
    print("\n".join(faults) or f"{wheel.name} ({wheel.stat().st_size // 1024} KiB) and {sdist.name} are whole")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
