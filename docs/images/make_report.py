"""Make ``docs/images/report.png``: a comparison of simulated models, photographed by Chromium.

``python docs/images/make_report.py CHROMIUM`` writes the report into a temporary folder; the picture takes a minute.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import labelstack as ls
from experiments.fashionblocks.scores import MODELS, write_scores


def main() -> None:
    """Draw scores, compare, and take the picture."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        write_scores(folder, 300, 150, random_state=0)
        scores = folder / "scores"
        given = ls.load(*(scores / f"{model}.csv" for model in MODELS), truth=scores / "labels.csv")
        found = ls.compare(given, ["mean", "greedy", "convex", "logistic"], n_splits=3, progress=None)
        page = ls.report(found, folder / "report")
        picture = Path(__file__).with_name("report.png")
        options = (
            "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --hide-scrollbars"
        )
        command = [sys.argv[1], *options.split(), "--window-size=1280,900", f"--user-data-dir={folder / 'chrome'}"]
        subprocess.run([*command, f"--screenshot={picture}", page.as_uri()], check=True, timeout=120)


if __name__ == "__main__":
    main()
