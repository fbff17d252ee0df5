"""Run the peers' side of every row: what a user would run today, on the same arrays, called as its authors mean it.

AutoGluon and hillclimbers know no labels, so the matrix is flattened for them, outside the clock.
Each function returns a `Job` for `experiments.benchmarks.worker`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from experiments.benchmarks.datasets import Split, load_split
from experiments.benchmarks.references import (
    best_single_threshold,
    cross_fit,
    describe_held_out,
    iter_folds,
    log_loss,
    micro_f1,
)
from experiments.benchmarks.worker import Job
from stacking._typing import FloatingArray

# What our own greedy and PSO take by default, so that both sides do the same work.
ENSEMBLE_SIZE = 25
N_PARTICLES, N_ITERATIONS = 15, 100
N_GRID = 50  # thresholds from .02 to .98, about .02 apart: a choice, as in many notebooks


def autogluon_greedy(path: str, metric: str) -> Job:
    """Prepare AutoGluon's EnsembleSelection on the flattened matrix.

    Parameters
    ----------
    path : str
        Split from `datasets`.
    metric : {"own-f1", "numpy-f1"}
        AutoGluon's own F1 (scikit-learn's) or one of four numpy calls.

    Returns
    -------
    Job
        Runs 25 iterations; describes weights and micro-F1 at .5.
    """
    data = load_split(path)
    flat = [np.ascontiguousarray(scores).reshape(-1) for scores in data.y_scores]
    truth = data.y_true.reshape(-1).astype(np.int64)

    def numpy_f1(y_true: FloatingArray, y_pred: FloatingArray) -> float:
        true, pred = y_true.astype(bool), y_pred.astype(bool)
        return 2 * np.count_nonzero(true & pred) / (np.count_nonzero(true) + np.count_nonzero(pred))

    def run() -> FloatingArray:
        import autogluon.core.metrics as metrics
        from autogluon.core.models.greedy_ensemble.ensemble_selection import EnsembleSelection

        scorer = metrics.f1 if metric == "own-f1" else metrics.make_scorer("numpy_f1", numpy_f1, needs_class=True)
        selection = EnsembleSelection(ensemble_size=ENSEMBLE_SIZE, problem_type="binary", metric=scorer)
        selection.fit(flat, truth, time_limit=None)
        return np.asarray(selection.weights_)

    return Job(run, lambda weights: describe_weights(weights, data))


def hillclimbers_greedy(path: str) -> Job:
    """Prepare hillclimbers on the flattened matrix, with a numpy F1 (its scikit-learn one takes 35 times as long).

    Parameters
    ----------
    path : str
        Split from `datasets`.

    Returns
    -------
    Job
        Runs the climb at its precision .01; it returns no weights, only scores.
    """
    import pandas as pd

    data = load_split(path)
    names = [f"model{model}" for model in range(len(data.y_scores))]
    tune = pd.DataFrame({name: scores.reshape(-1) for name, scores in zip(names, data.y_scores, strict=True)})
    test = pd.DataFrame({name: scores.reshape(-1) for name, scores in zip(names, data.y_scores_test, strict=True)})
    truth = pd.DataFrame({"y": data.y_true.reshape(-1)})

    def f1(y_true: Any, y_pred: Any) -> float:
        true, pred = y_true.to_numpy().astype(bool), y_pred.to_numpy() >= 0.5
        return 2 * np.count_nonzero(true & pred) / (np.count_nonzero(true) + np.count_nonzero(pred))

    def run() -> Any:
        import hillclimbers

        settings = {"negative_weights": False, "precision": 0.01, "plot_hill": False, "plot_hist": False}
        return hillclimbers.climb_hill(
            train=truth,
            oof_pred_df=tune,
            test_pred_df=test,
            target="y",
            objective="maximize",
            eval_metric=hillclimbers.partial(f1),
            return_oof_preds=True,
            **settings,
        )

    def describe(answer: Any) -> dict[str, Any]:
        held_out, fitted = answer
        return {
            "train_micro_f1": micro_f1(data.y_true, np.reshape(fitted, data.y_true.shape) >= 0.5),
            "test_micro_f1": micro_f1(data.y_true_test, np.reshape(held_out, data.y_true_test.shape) >= 0.5),
        }

    return Job(run, describe)


def numpy_greedy(path: str) -> Job:
    """Prepare the loop that everybody writes: add each model to the float32 sum, count hits at .5, keep the best.

    Parameters
    ----------
    path : str
        Split from `datasets`.

    Returns
    -------
    Job
        Runs 25 iterations.
    """
    data = load_split(path)
    scores = data.y_scores.reshape(len(data.y_scores), -1)

    def run() -> FloatingArray:
        true = data.y_true.reshape(-1).astype(bool)
        positives = np.count_nonzero(true)
        total = np.zeros(scores.shape[1], np.float32)
        copies = np.zeros(len(scores))
        best, best_copies = -1.0, copies
        for size in range(1, ENSEMBLE_SIZE + 1):
            reached = []
            for model in scores:
                fired = (total + model) >= np.float32(0.5 * size)
                reached.append(2 * np.count_nonzero(fired & true) / (positives + np.count_nonzero(fired)))
            chosen = int(np.argmax(reached))
            copies[chosen] += 1
            total += scores[chosen]
            if reached[chosen] > best:
                best, best_copies = reached[chosen], copies.copy()
        return best_copies / best_copies.sum()

    return Job(run, lambda weights: describe_weights(weights, data))


def fast_log_loss_greedy(path: str) -> Job:
    """Prepare greedy selection the way of TabArena's fast log loss: only the probability of the truth is kept.

    Parameters
    ----------
    path : str
        Split from `datasets`.

    Returns
    -------
    Job
        Runs 25 iterations; a running sum holds what is chosen.
    """
    data = load_split(path)
    scores = data.y_scores.reshape(len(data.y_scores), -1)

    def run() -> FloatingArray:
        true = data.y_true.reshape(-1).astype(bool)
        of_truth = np.where(true, scores, 1 - scores)
        total, copies = np.zeros(scores.shape[1], np.float32), np.zeros(len(scores))
        best, best_copies = np.inf, copies
        for size in range(1, ENSEMBLE_SIZE + 1):
            losses = [-np.log(np.maximum((total + model) / size, 1e-7)).mean(dtype=np.float64) for model in of_truth]
            chosen = int(np.argmin(losses))
            copies[chosen] += 1
            total += of_truth[chosen]
            if losses[chosen] < best:
                best, best_copies = losses[chosen], copies.copy()
        return best_copies / best_copies.sum()

    return Job(run, lambda weights: describe_weights(weights, data))


def pyswarms_weights(path: str, objective: str) -> Job:
    """Prepare pyswarms' global-best swarm over a numpy objective.

    Parameters
    ----------
    path : str
        Split from `datasets`.
    objective : {"micro-f1-half", "log-loss"}
        What it minimizes.

    Returns
    -------
    Job
        Runs 15 particles for 100 iterations.
    """
    data = load_split(path)
    loss = _numpy_loss(data, objective)
    n_models = len(data.y_scores)

    def batch(positions: FloatingArray) -> FloatingArray:
        return np.array([loss(position / max(position.sum(), 1e-9)) for position in positions])

    def run() -> FloatingArray:
        import pyswarms

        logging.disable(logging.CRITICAL)
        np.random.seed(0)  # noqa: NPY002 - pyswarms knows no other generator
        # c1, c2 and w are those of the examples in pyswarms' documentation
        swarm = pyswarms.single.GlobalBestPSO(
            n_particles=N_PARTICLES,
            dimensions=n_models,
            options={"c1": 0.5, "c2": 0.3, "w": 0.9},
            bounds=(np.zeros(n_models), np.ones(n_models)),
        )
        _, position = swarm.optimize(batch, iters=N_ITERATIONS, verbose=False)
        return position / position.sum()

    return Job(run, lambda weights: describe_weights(weights, data))


def slsqp_weights(path: str) -> Job:
    """Prepare scipy's SLSQP on the log loss with its gradient.

    Parameters
    ----------
    path : str
        Split from `datasets`.

    Returns
    -------
    Job
        Runs to ftol 1e-9 from uniform weights.
    """
    data = load_split(path)
    scores = np.ascontiguousarray(np.moveaxis(data.y_scores, 0, -1))
    truth = data.y_true.astype(np.float32)
    n_models = scores.shape[-1]

    def value_and_gradient(weights: FloatingArray) -> tuple[float, FloatingArray]:
        mixed = np.clip(scores @ weights.astype(np.float32), 1e-7, 1 - 1e-7)
        value = -np.mean(truth * np.log(mixed) + (1 - truth) * np.log(1 - mixed), dtype=np.float64)
        slope = (-(truth / mixed - (1 - truth) / (1 - mixed)) / mixed.size).reshape(-1) @ scores.reshape(-1, n_models)
        return float(value), slope.astype(np.float64)

    def run() -> FloatingArray:
        from scipy import optimize

        minimize: Any = optimize.minimize  # its stubs know no objective that returns its gradient too
        found = minimize(
            value_and_gradient,
            np.full(n_models, 1 / n_models),
            jac=True,
            method="SLSQP",
            bounds=[(0, 1)] * n_models,
            constraints={"type": "eq", "fun": lambda weights: weights.sum() - 1},
            options={"maxiter": 100, "ftol": 1e-9},
        )
        return found.x

    return Job(run, lambda weights: describe_weights(weights, data))


def grid_thresholds(path: str) -> Job:
    """Prepare seed 004's way: per label the best own F1 of 50 thresholds by scikit-learn.

    Parameters
    ----------
    path : str
        Split from `datasets`.

    Returns
    -------
    Job
        Runs the grid on the mean of the models.
    """
    data = load_split(path)
    mean = data.y_scores.mean(axis=0)
    grid = np.linspace(0.02, 0.98, N_GRID)

    def run() -> FloatingArray:
        from sklearn.metrics import f1_score

        chosen = np.empty(mean.shape[1])
        for label in range(mean.shape[1]):
            truth, score = data.y_true[:, label], mean[:, label]
            chosen[label] = grid[np.argmax([f1_score(truth, score >= cut, zero_division=0) for cut in grid])]
        return chosen

    return Job(run, lambda thresholds: describe_thresholds(thresholds, data))


def numpy_sort(path: str) -> Job:
    """Prepare one ``np.sort`` of the matrix, column by column: what sorting alone costs.

    Parameters
    ----------
    path : str
        Split from `datasets`.

    Returns
    -------
    Job
        Runs the sort.
    """
    mean = load_split(path).y_scores.mean(axis=0)
    return Job(lambda: np.sort(mean, axis=0), lambda ranked: {"n_sorted": int(ranked.size)})


def lightgbm_per_label(path: str) -> Job:
    """Prepare LightGBM as most would stack with it: default settings, 50 trees, every label and fold one model.

    Parameters
    ----------
    path : str
        Split from `datasets`.

    Returns
    -------
    Job
        Runs five folds; the fold models' mean answers the held-out rows.
    """
    data = load_split(path)

    def run() -> tuple[FloatingArray, FloatingArray]:
        from lightgbm import LGBMClassifier

        held_out = np.zeros(data.y_true.shape, np.float32)
        new = np.zeros(data.y_true_test.shape, np.float32)
        for rows in iter_folds(len(data.y_true)):
            for label in range(data.y_true.shape[1]):
                truth = data.y_true[~rows, label]
                if truth.min() == truth.max():
                    continue
                model: Any = LGBMClassifier(n_estimators=50, n_jobs=1, verbose=-1)
                model.fit(data.y_scores[:, ~rows, label].T, truth)
                held_out[rows, label] = model.booster_.predict(data.y_scores[:, rows, label].T)
                new[:, label] += model.booster_.predict(data.y_scores_test[:, :, label].T) / 5
        return held_out, new

    return Job(run, lambda scores: describe_stack(scores, data))


def reference(path: str, name: str) -> Job:
    """Prepare a plain solution of `references`, thresholds included.

    Parameters
    ----------
    path : str
        Split from `datasets`.
    name : str
        ``best-single``, ``best-single-half``, ``mean-half``, ``mean``, ``mean-exact``, or a learner of `references`
        with a hyphen for each underscore.

    Returns
    -------
    Job
        Runs fitting, thresholds (on cross-fitted scores) and prediction.
    """
    data = load_split(path)

    def describe(answer: tuple[FloatingArray, npt.NDArray[np.bool_]]) -> dict[str, Any]:
        return describe_held_out(data.y_true_test, answer[1], answer[0])

    return Job(lambda: _answer(data, name), describe)


def reference_part(path: str, name: str, every: int) -> Job:
    """Prepare one fit of an expensive solution of `references` on some of the labels, to extrapolate its cost from.

    Parameters
    ----------
    path : str
        Split from `datasets`.
    name : str
        A learner of `references` with a hyphen for each underscore, that takes `every`.
    every : int
        Every so many labels.

    Returns
    -------
    Job
        Runs the fit and the prediction of the held-out rows; there is nothing to score.
    """
    data = load_split(path)

    def run() -> FloatingArray:
        from experiments.benchmarks import references

        learner = getattr(references, name.replace("-", "_"))
        answer: FloatingArray = learner(data.y_scores, data.y_true, data.y_scores_test, every=every)
        return answer

    return Job(run, lambda _: {})


def describe_weights(weights: FloatingArray, data: Split) -> dict[str, Any]:
    """Score a weighted mean at .5, and its log loss.

    Parameters
    ----------
    weights : ndarray of shape (n_models,)
        On the simplex.
    data : Split
        Scores and truth.

    Returns
    -------
    dict
        Weights, micro-F1 and log loss on the tuning rows, and what `describe_held_out` says of the held-out ones.
    """
    narrow = np.asarray(weights, np.float32)
    tune, test = np.tensordot(narrow, data.y_scores, 1), np.tensordot(narrow, data.y_scores_test, 1)
    return {
        "weights": [float(weight) for weight in weights],
        "train_micro_f1": micro_f1(data.y_true, tune >= 0.5),
        "log_loss": log_loss(data.y_true, tune),
        **describe_held_out(data.y_true_test, test >= 0.5, test),
    }


def describe_thresholds(thresholds: FloatingArray, data: Split) -> dict[str, Any]:
    """Score thresholds on the mean of the models.

    Parameters
    ----------
    thresholds : ndarray of shape (n_labels,)
        What is at or above fires.
    data : Split
        Scores and truth.

    Returns
    -------
    dict
        Micro-F1 on tuning and held-out rows.
    """
    return {
        "train_micro_f1": micro_f1(data.y_true, data.y_scores.mean(axis=0) >= thresholds),
        "test_micro_f1": micro_f1(data.y_true_test, data.y_scores_test.mean(axis=0) >= thresholds),
    }


def describe_stack(scores: tuple[FloatingArray, FloatingArray], data: Split) -> dict[str, Any]:
    """Score stacked probabilities at the best single threshold of the out-of-fold ones.

    Parameters
    ----------
    scores : tuple of ndarray
        Out-of-fold scores of the tuning rows, and scores of the held-out rows.
    data : Split
        Truth.

    Returns
    -------
    dict
        Micro-F1 on tuning (out of fold) and held-out rows.
    """
    held_out, new = scores
    threshold = best_single_threshold(held_out, data.y_true)
    return {
        "train_micro_f1": micro_f1(data.y_true, held_out >= threshold),
        "test_micro_f1": micro_f1(data.y_true_test, new >= threshold),
    }


def _answer(data: Split, name: str) -> tuple[FloatingArray, npt.NDArray[np.bool_]]:
    """Fit the named plain solution; return the scores of the held-out rows and what is decided."""
    from experiments.benchmarks import references

    if name.startswith("best-single"):
        cuts = [0.5 if name.endswith("half") else best_single_threshold(model, data.y_true) for model in data.y_scores]
        reached = [
            micro_f1(data.y_true, scores >= cut) for scores, cut in zip(data.y_scores, cuts, strict=True)
        ]  # chosen on the tuning rows
        best = int(np.argmax(reached))
        return data.y_scores_test[best], data.y_scores_test[best] >= cuts[best]
    mean, mean_test = data.y_scores.mean(axis=0), data.y_scores_test.mean(axis=0)
    if name == "mean-half":
        return mean_test, mean_test >= 0.5
    if name == "mean-exact":
        return mean_test, mean_test >= references.exact_label_thresholds(mean, data.y_true)
    if name == "mean":
        return mean_test, mean_test >= best_single_threshold(mean, data.y_true)
    learner: references.Learner = getattr(references, name.replace("-", "_"))
    held_out = cross_fit(learner, data.y_scores, data.y_true)
    answer = learner(data.y_scores, data.y_true, data.y_scores_test)
    return answer, answer >= best_single_threshold(held_out, data.y_true)


def _numpy_loss(data: Split, objective: str) -> Callable[[FloatingArray], float]:
    """Return the loss of one weight vector, in numpy."""
    scores = np.ascontiguousarray(np.moveaxis(data.y_scores, 0, -1))
    true, truth = data.y_true.astype(bool), data.y_true.astype(np.float32)
    positives = int(true.sum())

    def half(weights: FloatingArray) -> float:
        fired = scores @ weights.astype(np.float32) >= 0.5
        return float(-2 * (fired & true).sum() / (positives + fired.sum()))

    def loss(weights: FloatingArray) -> float:
        mixed = np.clip(scores @ weights.astype(np.float32), 1e-7, 1 - 1e-7)
        return float(-np.mean(truth * np.log(mixed) + (1 - truth) * np.log(1 - mixed)))

    return half if objective == "micro-f1-half" else loss
