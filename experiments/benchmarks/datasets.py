"""The data sets of the quality rows, each split into rows that may tune anything and rows that tuned nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.benchmarks.processes import Plan
from experiments.benchmarks.workload import simulate_workload
from stacking._typing import FloatingArray, LabelArray

N_FIT_PHOTOS = 5_000  # a choice: rows to fit on where the photos of both files are dealt anew


@dataclass(frozen=True)
class Split:
    """Scores and truth to tune on, and held out.

    Parameters
    ----------
    y_scores, y_scores_test : ndarray of float32, shape (n_models, n_samples, n_labels)
        Scores.
    y_true, y_true_test : ndarray of uint8, shape (n_samples, n_labels)
        Truth.
    groups : ndarray of shape (n_samples,) or None
        Rows to tune on that must share a fold.
    label_rows : ndarray of uint8, shape (n_others, n_labels), or None
        Truth of further rows, which no model has scored.
    """

    y_scores: FloatingArray
    y_true: LabelArray
    y_scores_test: FloatingArray
    y_true_test: LabelArray
    groups: npt.NDArray[Any] | None = None
    label_rows: LabelArray | None = None


def prepare_workload(plan: Plan) -> Path:
    """Simulate the common workload once and keep it as plain arrays.

    Parameters
    ----------
    plan : Plan
        Says how many rows and where.

    Returns
    -------
    Path
        A file for `load_split`.
    """
    path = plan.scratch / f"workload{plan.n_samples}.npz"
    if not path.exists():
        data = simulate_workload(plan.n_samples)
        arrays = {"y_scores": data.y_scores, "y_true": data.y_true}
        held_out = {"y_scores_test": data.y_scores_test, "y_true_test": data.y_true_test}
        save_arrays(path, arrays | held_out)
    return path


def prepare_simulation(plan: Plan, seed: int = 0) -> Path | None:
    """Run the simulation of iMaterialist predictions and split it 80/20.

    Parameters
    ----------
    plan : Plan
        Says where.
    seed : int, default=0
        Of the members' errors; the label rows and the split are always the same.

    Returns
    -------
    Path or None
        A file for `load_split`; None where the simulation is absent.
    """
    script = plan.data("imaterialist2018", "simulate_predictions.py")
    if script is None:
        return None
    path = plan.scratch / f"simulation{seed or ''}{'-quick' if plan.quick else ''}.npz"
    if not path.exists():
        raw = plan.scratch / "simulation-raw.npz"
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run(
            [sys.executable, "-P", str(script), str(raw), "--seed", str(seed)],
            check=True,
            capture_output=True,
            env=environment,
        )
        with np.load(raw) as data:
            y_scores, y_true = data["y_scores"], data["y_true"]
        raw.unlink()
        order = np.random.default_rng(5).permutation(len(y_true))
        order = order[:2000] if plan.quick else order
        border = int(0.8 * len(order))
        save_arrays(path, _split_rows(y_scores, y_true, order[:border], order[border:]))
    return path


def prepare_few_rows(plan: Plan, n_rows: int, number: int = 0) -> Path | None:
    """Keep few scored rows of the simulation to tune on; of the others only the truth.

    Parameters
    ----------
    plan : Plan
        Says where.
    n_rows : int
        Rows that keep their scores.
    number : int, default=0
        Seed of the draw of the rows.

    Returns
    -------
    Path or None
        A file for `load_split`; None where the simulation is absent.
    """
    whole = prepare_simulation(plan)
    if whole is None:
        return None
    path = whole.with_name(f"{whole.stem}-{n_rows}-rows-{number}.npz")
    if not path.exists():
        data = load_split(whole)
        order = np.random.default_rng(number).permutation(len(data.y_true))
        scored, others = np.sort(order[:n_rows]), np.sort(order[n_rows:])
        tune = {"y_scores": data.y_scores[:, scored], "y_true": data.y_true[scored], "label_rows": data.y_true[others]}
        save_arrays(path, tune | {"y_scores_test": data.y_scores_test, "y_true_test": data.y_true_test})
    return path


def prepare_members(plan: Plan, number: int = 0) -> Path | None:
    """Split the photos that seven networks scored, by their groups.

    Parameters
    ----------
    plan : Plan
        Says where.
    number : int, default=0
        Seed of the split; 0 is the data set's own.

    Returns
    -------
    Path or None
        A file for `load_split`; None where the scores are absent.
    """
    parts = [plan.data("fashion44k_members", f"{name}.npz") for name in ("fit", "test")]
    if parts[0] is None or parts[1] is None:
        return None
    path = plan.scratch / f"members{number}{'-quick' if plan.quick else ''}.npz"
    if path.exists():
        return path
    with np.load(parts[0]) as fit, np.load(parts[1]) as test:
        scores, truths = [fit["y_scores"], test["y_scores"]], [fit["y_true"], test["y_true"]]
        groups = [fit["groups"], test["groups"] if "groups" in test.files else np.arange(len(truths[1]))]
    y_scores, y_true = np.concatenate(scores, axis=1), np.concatenate(truths)
    names = np.concatenate([np.char.add(kind, part.astype(str)) for kind, part in zip("ab", groups, strict=True)])
    _, place = np.unique(names, return_inverse=True)
    if number == 0:
        tune, held = np.split(np.arange(len(y_true)), [len(truths[0])])
        own = groups[0]  # as the file names them
    else:
        own = place
        ranks = np.random.default_rng(number).permutation(place.max() + 1)[place]
        order = np.argsort(ranks, kind="stable")
        border = N_FIT_PHOTOS + int(np.argmax(np.diff(ranks[order[N_FIT_PHOTOS - 1 :]]) > 0))
        tune, held = np.sort(order[:border]), np.sort(order[border:])
    if plan.quick:
        tune, held = tune[:500], held[:500]
    save_arrays(path, {**_split_rows(y_scores, y_true, tune, held), "groups": own[tune]})
    return path


def prepare_jamendo(plan: Plan, number: int) -> Path | None:
    """Split the music tags 65/35 by artist.

    Parameters
    ----------
    plan : Plan
        Says where.
    number : int
        Seed of the split.

    Returns
    -------
    Path or None
        A file for `load_split`; None where the predictions are absent.
    """
    source = plan.data("jamendo_moodtheme", "predictions.npz")
    if source is None:
        return None
    path = plan.scratch / f"jamendo{number}{'-quick' if plan.quick else ''}.npz"
    if not path.exists():
        with np.load(source) as data:
            y_scores, y_true, groups = data["y_scores"], data["y_true"], data["groups"]
        if plan.quick:
            y_scores = y_scores[:8]
        artists = np.random.default_rng(number).permutation(np.unique(groups))
        chosen = np.isin(groups, artists[: round(0.65 * len(artists))])
        tune, test = np.flatnonzero(chosen), np.flatnonzero(~chosen)
        save_arrays(path, {**_split_rows(y_scores, y_true, tune, test), "groups": groups[tune]})
    return path


def load_split(path: str | Path) -> Split:
    """Load what one of the ``prepare_`` functions wrote.

    Parameters
    ----------
    path : str or Path
        The file.

    Returns
    -------
    Split
        The arrays.
    """
    with np.load(path) as data:
        return Split(**{key: data[key] for key in data.files})


def _split_rows(
    y_scores: FloatingArray, y_true: LabelArray, tune: npt.NDArray[np.intp], test: npt.NDArray[np.intp]
) -> dict[str, npt.NDArray[Any]]:
    """Take the rows of both parts."""
    return {
        "y_scores": y_scores[:, tune],
        "y_true": y_true[tune],
        "y_scores_test": y_scores[:, test],
        "y_true_test": y_true[test],
    }


def save_arrays(path: Path, arrays: dict[str, npt.NDArray[Any]]) -> None:
    """Write arrays so that the file is complete or absent.

    Parameters
    ----------
    path : Path
        An ``.npz`` file; its folder is made.
    arrays : dict
        By name.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, allow_pickle=False, **arrays)
    partial.replace(path)
