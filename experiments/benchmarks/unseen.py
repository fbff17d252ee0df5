"""Prediction sets that tuned nothing: auto beside the plain mean and the best single model on each.

Generated sets stand for what may be wrong with members: few rows, correlated labels, shifted label frequencies,
overconfident members, useless ones, copies, members that answer only some labels. Real ones: scikit-learn classifiers
on small tables, few of the music-tag models, a few hundred rows of the simulated CNNs. Seed 0 was looked at while
auto's rule of choice was written; a change made after looking at a seed must be judged on others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from experiments.benchmarks.datasets import Split, load_split, prepare_jamendo, prepare_simulation, save_arrays
from experiments.benchmarks.processes import Plan
from experiments.benchmarks.references import best_single_threshold, describe_held_out, micro_f1
from experiments.benchmarks.rows import Goal, Row
from experiments.benchmarks.speed import OURS, measure_row
from experiments.benchmarks.tabular import create_bases, hold_out, load_tabular, score_new
from experiments.benchmarks.worker import Job
from stacking._typing import FloatingArray, LabelArray

N_TEST = 4_000  # rows of a generated set: a choice; with more, scores vary less with the draw
WORST = -0.003  # the goal of the project on every set; what may be lost by not taking the better of the two
REAL = ("emotions", "birds", "cal500", "music, 5 models", "music, 12 labels", "simulation, 500 rows")


@dataclass(frozen=True)
class Recipe:
    """How a set is generated.

    Parameters
    ----------
    n_models, n_rows, n_labels : int
        Shape of the part to tune on.
    frequency : (float, float)
        Least and greatest label frequency; the labels between are spaced evenly on the log scale.
    correlation : float
        Share of the labels' true logits that few latent factors explain, in [0, 1].
    noise : float
        Standard deviation of the members' own errors on the logit scale; half of it again is shared.
    shift : float
        Standard deviation of the labels' offsets between the members' and the true logits.
    overconfidence : float
        Factor of the members' logits.
    useless : int
        The last members know nothing.
    copies : int
        The last members repeat the first, nearly.
    covered : float
        Share of the labels that a member answers; the first answers all.
    """

    n_models: int = 6
    n_rows: int = 2_000
    n_labels: int = 20
    frequency: tuple[float, float] = (0.01, 0.4)
    correlation: float = 0.5
    noise: float = 2.0
    shift: float = 0.3
    overconfidence: float = 1.0
    useless: int = 0
    copies: int = 0
    covered: float = 1.0


RECIPES = {
    "plain": Recipe(),
    "500 rows": Recipe(n_rows=500),
    "500 rows, 100 labels": Recipe(n_rows=500, n_labels=100, frequency=(0.004, 0.3)),
    "8,000 rows": Recipe(n_rows=8_000),
    "5 labels": Recipe(n_labels=5, n_rows=1_000),
    "200 labels": Recipe(n_labels=200, n_rows=3_000, frequency=(0.001, 0.3)),
    "40 models": Recipe(n_models=40, n_rows=1_000),
    "independent labels": Recipe(correlation=0.0),
    "correlated labels": Recipe(correlation=0.95),
    "shifted frequencies": Recipe(shift=2.0),
    "overconfident": Recipe(overconfidence=3.0),
    "one good, nine useless": Recipe(n_models=10, useless=9, noise=1.0),
    "half useless, 600 rows": Recipe(n_models=10, useless=5, n_rows=600),
    "copies": Recipe(n_models=10, copies=6),
    "holes": Recipe(n_models=8, covered=0.5),
    "weak members, 500 rows": Recipe(n_models=20, n_rows=500, noise=6.0),
    "strong members": Recipe(noise=0.5),
}


def measure_unseen(plan: Plan) -> list[Row]:
    """Measure auto on every set.

    Parameters
    ----------
    plan : Plan
        Sizes and data.

    Returns
    -------
    list of Row
        One per set, with the gain over the better of the plain mean and the best single model, and a summary.
    """
    plan = replace(plan, repeats=1)
    names = [*RECIPES, *(REAL if plan.shared_data is not None else ())]
    rows = []
    for name in names[:3] if plan.quick else names:
        path = str(prepare_unseen(plan, name))
        row = Row(f"unseen: {name}", f"{OURS} auto", True, goals=(Goal("lead", WORST, at_most=False),))
        rows.append(measure_row(plan, row, "experiments.benchmarks.unseen:unseen_job", {"path": path}))
    leads = [row.values["lead"] for row in rows if row.values]
    if len(leads) == len(rows):
        values = {"mean_lead": float(np.mean(leads)), "worst_lead": float(min(leads))}
        goals = (Goal("worst_lead", WORST, at_most=False), Goal("mean_lead", 0.0, at_most=False))
        rows.append(Row("unseen: all sets", f"{OURS} auto", True, values=values, goals=goals))
    return rows


def unseen_job(path: str) -> Job:
    """Prepare auto on one set.

    Parameters
    ----------
    path : str
        What `prepare_unseen` wrote.

    Returns
    -------
    Job
        Fits, predicts the held-out rows, and compares with the mean and the best single model at one tuned threshold.
    """
    data = load_split(path)

    def run() -> tuple[Any, FloatingArray]:
        from stacking import PredictionSet, StackingEnsemble

        covers = ~np.isnan(data.y_scores[:, 0])
        fitted = StackingEnsemble(random_state=0)
        fitted.fit(PredictionSet(data.y_scores, y_true=data.y_true, groups=data.groups, covers=covers))
        return fitted, fitted.predict_proba(PredictionSet(data.y_scores_test, covers=covers))

    def describe(answer: tuple[Any, FloatingArray]) -> dict[str, Any]:
        fitted, y_score = answer
        mean, single = plain_scores(data)
        values = describe_held_out(data.y_true_test, np.asarray(fitted.decide(y_score), bool), y_score)
        lead = values["test_micro_f1"] - max(mean, single)
        return {**values, "mean": mean, "best_single": single, "lead": lead, "report": str(fitted.report_)}

    return Job(run, describe)


def plain_scores(data: Split) -> tuple[float, float]:
    """Score the plain mean and the best single model, each with one threshold tuned on the rows to tune on.

    Parameters
    ----------
    data : Split
        NaN where a model does not answer a label.

    Returns
    -------
    (float, float)
        Held-out micro-F1 of the mean and of the model that is best on the rows to tune on, among those that answer
        every label.
    """
    cut = best_single_threshold(np.nanmean(data.y_scores, axis=0), data.y_true)
    mean = micro_f1(data.y_true_test, np.nanmean(data.y_scores_test, axis=0) >= cut)
    whole = [member for member, scores in enumerate(data.y_scores) if not np.isnan(scores).any()]
    cuts = [best_single_threshold(data.y_scores[member], data.y_true) for member in whole]
    fitted = [micro_f1(data.y_true, data.y_scores[member] >= cut) for member, cut in zip(whole, cuts, strict=True)]
    best = int(np.argmax(fitted))
    return mean, micro_f1(data.y_true_test, data.y_scores_test[whole[best]] >= cuts[best])


@dataclass(frozen=True)
class Generated:
    """A set and what it was drawn from.

    Parameters
    ----------
    split : Split
        Scores and truth.
    bias : ndarray of float64, shape (n_labels,)
        Means of the labels' true logits.
    covariance : ndarray of float64, shape (n_labels, n_labels)
        Covariance of the labels' true logits.
    witnesses : sequence of (ndarray of float64, float)
        What each member that knows something saw of the true logits, (n_rows + `N_TEST`, n_labels), without its
        offsets and its scale, and the variance of its own errors; no copies.
    shared_variance : float
        Variance of the error that all of them share.
    """

    split: Split
    bias: FloatingArray
    covariance: FloatingArray
    witnesses: Sequence[tuple[FloatingArray, float]]
    shared_variance: float


def generate(recipe: Recipe, seed: int) -> Split:
    """Draw a set.

    Parameters
    ----------
    recipe : Recipe
        Its law.
    seed : int
        Of the generator.

    Returns
    -------
    Split
        With `N_TEST` held-out rows.
    """
    return generate_with_law(recipe, seed).split


def generate_with_law(recipe: Recipe, seed: int) -> Generated:
    """Draw a set and say what it was drawn from.

    Parameters
    ----------
    recipe, seed
        As in `generate`.

    Returns
    -------
    Generated
        The set and its law.
    """
    rng = np.random.default_rng(seed)
    shape = (recipe.n_rows + N_TEST, recipe.n_labels)
    bias = _bias_for(np.geomspace(*recipe.frequency, recipe.n_labels))
    hidden, loadings = rng.normal(size=(shape[0], 5)), rng.normal(size=(5, shape[1]))
    factors, own = hidden @ loadings / np.sqrt(5), rng.normal(size=shape)
    logits = bias + 3.0 * (np.sqrt(recipe.correlation) * factors + np.sqrt(1 - recipe.correlation) * own)
    y_true = (rng.random(shape) < 1 / (1 + np.exp(-logits))).astype(np.uint8)
    error, offset = rng.normal(size=shape), recipe.shift * rng.normal(size=shape[1])
    seen = logits + 0.5 * recipe.noise * error + offset
    members = [_member(recipe, number, seen, bias, rng) for number in range(recipe.n_models)]
    scores = np.stack([member[0] for member in members])
    for number in range(recipe.n_models - recipe.copies, recipe.n_models):
        scores[number] = scores[0] + 0.1 * rng.normal(size=shape)
    y_scores = (1 / (1 + np.exp(-recipe.overconfidence * scores))).astype(np.float32)
    if recipe.covered < 1:
        holes = rng.random((recipe.n_models, 1, recipe.n_labels)) >= recipe.covered
        holes[0] = False
        y_scores[np.broadcast_to(holes, y_scores.shape)] = np.nan
    tune = recipe.n_rows
    split = Split(y_scores[:, :tune], y_true[:tune], y_scores[:, tune:], y_true[tune:])
    common, apart = loadings.T @ loadings / 5, np.eye(shape[1])
    covariance = 9.0 * (recipe.correlation * common + (1 - recipe.correlation) * apart)
    n_knowing = recipe.n_models - max(recipe.useless, recipe.copies)
    witnesses = [(saw - offset, variance) for _, saw, variance in members[:n_knowing]]
    return Generated(split, bias, covariance, witnesses, (0.5 * recipe.noise) ** 2)


def _member(
    recipe: Recipe, number: int, seen: FloatingArray, bias: FloatingArray, rng: np.random.Generator
) -> tuple[FloatingArray, FloatingArray, float]:
    """Draw the logits of one member: noisier than the one before, with its own temperature and offset.

    Also what it saw, without them, and the variance of its own error.
    """
    if number >= recipe.n_models - recipe.useless:
        drawn = bias + rng.normal(size=seen.shape)
        return drawn, drawn, np.inf
    noise = recipe.noise * (0.8 + 0.6 * number / recipe.n_models)
    saw = seen + noise * rng.normal(size=seen.shape)
    drawn = saw + 0.3 * rng.normal(size=seen.shape[1])
    return rng.uniform(0.6, 1.2) * drawn + 0.5 * rng.normal(), saw, noise**2


def _bias_for(frequency: FloatingArray) -> FloatingArray:
    """Give the bias at which logits of standard deviation 3 reach a frequency (probit approximation)."""
    from scipy.stats import norm

    spread = np.sqrt(9.0 + 2.89)
    return np.asarray(norm.ppf(frequency) * spread)


def prepare_unseen(plan: Plan, name: str, seed: int = 0) -> Path:
    """Generate or cut a set once.

    Parameters
    ----------
    plan : Plan
        Says where.
    name : str
        One of `RECIPES` or `REAL`.
    seed : int, default=0
        Of everything that is drawn.

    Returns
    -------
    Path
        A file for `load_split`.
    """
    path = plan.scratch / f"unseen-{name.replace(' ', '-').replace(',', '')}-{seed}.npz"
    if not path.exists():
        data = generate(RECIPES[name], seed) if name in RECIPES else _real(plan, name, seed)
        save_arrays(path, {key: value for key, value in vars(data).items() if value is not None})
    return path


def _real(plan: Plan, name: str, seed: int) -> Split:
    """Cut a set from the measuring data."""
    rng = np.random.default_rng(1_000 + seed)
    if name.startswith("music"):
        data = _load(prepare_jamendo(plan, 1_000 + seed))
        n_models, n_labels = data.y_scores.shape[0], data.y_scores.shape[2]
        models = rng.choice(n_models, 5, replace=False) if "models" in name else np.arange(n_models)
        labels = rng.choice(n_labels, 12, replace=False) if "labels" in name else np.arange(n_labels)
        picked = [
            scores[np.ix_(models, np.arange(scores.shape[1]), labels)] for scores in (data.y_scores, data.y_scores_test)
        ]
        return Split(picked[0], data.y_true[:, labels], picked[1], data.y_true_test[:, labels], data.groups)
    if name.startswith("simulation"):
        data = _load(prepare_simulation(plan))
        rows = rng.choice(len(data.y_true), 500, replace=False)
        return replace(data, y_scores=data.y_scores[:, rows], y_true=data.y_true[rows])
    x, y, x_test, y_test = load_tabular(str(plan.data("tabular", f"{name}.npz")), quick=False)
    return fit_plain_bases(x, y, x_test, y_test)


def fit_plain_bases(x: FloatingArray, y: LabelArray, x_test: FloatingArray, y_test: LabelArray) -> Split:
    """Turn a table into a set: the scores of five plain classifiers are those of its members.

    Parameters
    ----------
    x, y : ndarray
        Features and labels to tune on.
    x_test, y_test : ndarray
        Held-out features and labels.

    Returns
    -------
    Split
        Out-of-fold scores, and those of classifiers fitted on all rows.
    """
    bases = create_bases(quick=True)
    held_out, test = hold_out(bases, x, y), score_new(bases, x, y, x_test)
    return Split(np.clip(held_out, 0, 1), y, np.clip(test, 0, 1), y_test)


def _load(path: Path | None) -> Split:
    """Load a split that must be there."""
    if path is None:
        raise FileNotFoundError("the measuring data must be complete: a set is missing; set LABELSTACK_SHARED_DATA.")
    return load_split(path)
