"""Walk the whole way of the contest on one machine: three JSON files with urls in, one submission out.

``python -m experiments.benchmarks.contest_walk --out FOLDER`` draws FashionBlocks photos, puts them behind a server on
the loopback interface, writes train, validation and test files in the form of iMaterialist Fashion 2018 (every split
numbered from 1, no labels in the test file, labels called as in its map) and then runs the commands that the recipe
``imaterialist2018`` names, on small networks. A few photos are missing on the server, as in the contest. At the end the
submission is read again, checked against the ids of the test file and scored with the labels that were kept back. The
figures go to ``experiments/results/contest-walk.{md,json}``. The same command goes on where it was stopped.
"""

from __future__ import annotations

import argparse
import csv
import functools
import http.server
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cli.recipes import FOLDER
from experiments.fashionblocks import LABELS, synthesize
from stacking.files.atomic_files import atomic_write_json, atomic_write_text
from stacking.files.ending import ending_with
from stacking.metrics import micro_f1
from stacking.report.writing import write_score

RESULTS = Path(__file__).parents[1] / "results"
SPLITS = ("train", "validation", "test")
MISSING_EVERY = 40  # photos: so often one is not there, as with urls that are years old
SMALL = {  # the contest's networks → what two processors can train in minutes
    "resnet50": "resnet10t",
    "inception_v3": "scratch-cnn",
    "legacy_xception": "mobilenetv1_100",
    "seresnext50_32x4d": "resnet14t",
}
Invoke = Callable[[Sequence[str]], str]


@dataclass(frozen=True)
class WalkPlan:
    """How large the walk is.

    Attributes
    ----------
    n_photos : int, default=2000
        Photos of all splits: seven tenths to train on, three twentieths each to stack on and to submit.
    size : int, default=48
        Side that the networks see.
    epochs : int, default=3
        Passes over the training photos.
    networks : mapping of str to str
        What stands for each network of the contest's recipe.
    """

    n_photos: int = 2000
    size: int = 48
    epochs: int = 3
    networks: tuple[tuple[str, str], ...] = tuple(SMALL.items())

    @property
    def counts(self) -> dict[str, int]:
        """Return the photos of each split."""
        rest = round(0.15 * self.n_photos)
        return {"train": self.n_photos - 2 * rest, "validation": rest, "test": rest}


def walk(out: Path, plan: WalkPlan | None = None, invoke: Invoke | None = None) -> dict[str, Any]:
    """Go from three JSON files to a checked submission.

    Parameters
    ----------
    out : Path
        Folder for everything; new, or of the same walk.
    plan : WalkPlan, optional
        How large it is.
    invoke : callable, optional
        Runs one command, given its arguments, and returns what it wrote to stdout; by default in a process of its own.

    Returns
    -------
    dict
        What each command said and took, and the scores of the submission.

    Raises
    ------
    ValueError
        If the submission does not hold the ids of the test file, each once and in order, or a label that is none.
    """
    plan, invoke = plan or WalkPlan(), invoke or _own_process
    counts = plan.counts
    drawn = synthesize(
        out / "drawn", n_train=counts["train"], n_validation=counts["validation"], n_test=counts["test"], size=64
    )
    steps: list[dict[str, Any]] = []

    def step(*arguments: object) -> None:
        words = [str(argument) for argument in arguments]
        started = time.monotonic()
        said = invoke(words)
        shown = " ".join(words).replace(f"{out}/", "")
        steps.append({"command": shown, "seconds": time.monotonic() - started, "said": said.replace(f"{out}/", "")})

    with serve(drawn / "photos") as address:
        truth = _write_contest(drawn, out, address, counts)
        for split in SPLITS:
            step("data", "download", out / f"{split}.json", "--out", out / "raw" / split, "--allow-private", "-q")
    for split in SPLITS:
        annotations = [] if split == "test" else ["--annotations", out / f"{split}.json"]
        place = ["--out", out / "clean" / split]
        step("data", "ingest", out / "raw" / split, *annotations, *place, "--size", 64, "--keep-near-duplicates", "-q")
    atomic_write_text(out / "recipe.toml", _scale_down(plan))
    step("train", out / "recipe.toml", "--out", out / "run", "-q")
    step("compare", out / "run" / "oof", "--out", out / "comparison", "--methods", "mean,greedy,logistic", "-q")
    step("fit", out / "run" / "oof", "--out", out / "ensemble", "-q")
    step(
        *("predict", out / "ensemble", "--run", out / "run", "--images", out / "clean" / "test" / "photos"),
        *("--format", "submission", "--like", out / "sample_submission.csv", "--out", out / "submission.csv", "-q"),
    )
    return {"n_photos": counts, "steps": steps, "submission": check_submission(out / "submission.csv", truth)}


def _scale_down(plan: WalkPlan) -> str:
    """Return the contest's recipe with small networks and photos, few epochs and no weights from the hub."""
    text = (FOLDER / "imaterialist2018.toml").read_text(encoding="utf-8")
    changes = {
        "size = 299": f"size = {plan.size}",
        'weights = "hub"': 'weights = "none"',
        "epochs = 5": f"epochs = {plan.epochs}",
        "batch_size = 256": "batch_size = 16",
        "learning_rate = 1e-3": "learning_rate = 3e-3",
        "body_learning_rate = 0.3": "body_learning_rate = 1.0",
        "ema_decay = 0.999": "ema_decay = 0.9",
        'precision = "auto"': 'precision = "float32"',
        "validation_fraction = 0.01": "validation_fraction = 0.1",
        "split_count = 100000": f"split_count = {plan.counts['train'] // 10}",  # a tenth of the photos, as there
        "n_workers = -1": "n_threads = 1",
        **{f'network = "{large}"': f'network = "{small}"' for large, small in plan.networks},
    }
    for before, after in changes.items():
        if before not in text:
            raise ValueError(f"the recipe imaterialist2018 must hold {before!r}: it has changed; change this as well.")
        text = text.replace(f"\n{before}", f"\n{after}")
    return text


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve a folder of photos on the loopback interface.

    Parameters
    ----------
    folder : Path
        The photos.

    Yields
    ------
    str
        The address.
    """
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        with ending_with(server.shutdown, thread.join):
            yield f"http://127.0.0.1:{server.server_address[1]}"


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Serve files and write no log."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _own_process(arguments: Sequence[str]) -> str:
    """Run a command as a user would."""
    done = subprocess.run([sys.executable, "-m", "labelstack", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"labelstack {' '.join(arguments)} ended with {done.returncode}: {done.stderr[-2000:]}")
    return done.stdout.strip()


def contest_names() -> list[str]:
    """Call the labels of FashionBlocks as the contest's map calls its own: in words, with capitals.

    Returns
    -------
    list of str
        Such as ``category:T Shirt``.
    """
    parts = [label.partition(":") for label in LABELS]
    return [f"{group}:{value.replace('-', ' ').title()}" for group, _, value in parts]


def _write_contest(drawn: Path, out: Path, address: str, counts: dict[str, int]) -> dict[str, set[str]]:
    """Write the contest's files; return the labels of the test photos, which are not in them."""
    truth: dict[str, set[str]] = {}
    for split in SPLITS:
        content = json.loads((drawn / f"{split}.json").read_text(encoding="utf-8"))
        images, annotations = [], []
        for number, entry in enumerate(content["annotations"], start=1):
            gone = "gone-" if number % MISSING_EVERY == 0 else ""
            url = f"{address}/{split}/{gone}{entry['imageId']}.jpg"
            images.append({"url": [url], "imageId": str(number)})
            annotations.append({"imageId": str(number), "labelId": entry["labelId"]})
        listed: dict[str, Any] = {"images": images}
        if split == "test":
            truth = {entry["imageId"]: set(entry["labelId"]) for entry in annotations}
        else:
            listed["annotations"] = annotations
        atomic_write_json(out / f"{split}.json", listed)
    rows = [["labelId", "labelName"], *([str(place + 1), name] for place, name in enumerate(contest_names()))]
    atomic_write_text(out / "labels.csv", "".join(f"{','.join(row)}\n" for row in rows))
    sample = ["image_id,label_id", *(f"{name}," for name in truth)]
    atomic_write_text(out / "sample_submission.csv", "\n".join(sample) + "\n")
    return truth


def check_submission(path: Path, truth: dict[str, set[str]]) -> dict[str, Any]:
    """Read a submission as the contest would, and score it.

    Parameters
    ----------
    path : Path
        The file.
    truth : dict of str to set of str
        Ids of the labels of every test photo, in the order of the test file.

    Returns
    -------
    dict
        Rows, rows without a label, labels per row, micro-F1, and that of the best constant answer.

    Raises
    ------
    ValueError
        If header, ids or labels are not the contest's.
    """
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    ids = [row[0] for row in rows[1:]]
    if rows[0] != ["image_id", "label_id"] or ids != list(truth):
        raise ValueError(f"{path} must hold image_id,label_id and the {len(truth)} ids of the test file, in order.")
    answers = [set(row[1].split()) for row in rows[1:]]
    known = [str(place + 1) for place in range(len(LABELS))]
    strange = set().union(*answers) - set(known)
    if strange:
        raise ValueError(f"{path} must hold label ids only: got {sorted(strange)[:5]}.")
    y_true, y_pred = (
        np.array([[label in row for label in known] for row in side], bool) for side in (truth.values(), answers)
    )
    order = np.argsort(-y_true.sum(axis=0), kind="stable")
    constant = max(
        micro_f1(y_true, np.isin(np.arange(len(known)), order[:k])[None].repeat(len(ids), 0)) for k in range(1, 12)
    )
    return {
        "rows": len(ids),
        "rows_without_a_label": sum(not answer for answer in answers),
        "labels_per_row": float(y_pred.sum(axis=1).mean()),
        "micro_f1": float(micro_f1(y_true, y_pred)),
        "constant_answer": float(constant),
    }


def write_walk(found: dict[str, Any], out: Path = RESULTS) -> Path:
    """Write what a walk has found.

    Parameters
    ----------
    found : dict
        From `walk`.
    out : Path
        Folder for both files.

    Returns
    -------
    Path
        The Markdown file.
    """
    counts, end = found["n_photos"], found["submission"]
    lines = [
        "# The contest's way, walked",
        "",
        f"`make contest-walk`: {counts['train']:,} training, {counts['validation']:,} validation and "
        f"{counts['test']:,} test photos of FashionBlocks behind a server on the loopback interface, in the form of "
        "iMaterialist Fashion 2018 (every split numbered from 1, no labels in the test file, labels such as "
        f"`category:T Shirt`), every {MISSING_EVERY}th photo gone. The recipe is `imaterialist2018` with small "
        "networks and photos of 64 pixels.",
        "",
        f"**The submission** holds {end['rows']:,} rows, one for every id of the test file in its order, "
        f"{end['rows_without_a_label']:,} of them without a label (photos that could not be fetched), "
        f"{end['labels_per_row']:.2f} labels a row; micro-F1 {write_score(end['micro_f1'])}, the best constant answer "
        f"{write_score(end['constant_answer'])}.",
        "",
    ]
    for step in found["steps"]:
        said = [f"    {line}" for line in step["said"].splitlines()]
        lines += [f"`labelstack {step['command']}` ({step['seconds']:.0f} s)", "", *said, ""]
    out.mkdir(parents=True, exist_ok=True)
    atomic_write_json(out / "contest-walk.json", found)
    atomic_write_text(out / "contest-walk.md", "\n".join(lines).rstrip() + "\n")
    return out / "contest-walk.md"


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, walk, and write the figures.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.contest_walk", description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for photos, run and submission")
    parser.add_argument("--n-photos", type=int, default=2000, help="photos of all splits")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for contest-walk.{md,json}")
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    print(write_walk(walk(given.out, WalkPlan(given.n_photos)), given.results))  # noqa: T201


if __name__ == "__main__":
    main()
