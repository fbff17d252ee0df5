"""All checks of predictions before a fit."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from stacking.diagnosis.column_order import check_columns
from stacking.diagnosis.copies import check_copies, check_groups
from stacking.diagnosis.findings import CHECKS, CheckReport, Finding
from stacking.diagnosis.matched import Matched, match_inputs
from stacking.diagnosis.names import check_ids, check_labels, find_misspelt
from stacking.diagnosis.rare_labels import check_rare_labels
from stacking.diagnosis.raw_inputs import RawInputs, read_inputs
from stacking.diagnosis.row_order import check_inverted, check_rows
from stacking.diagnosis.scales import check_constant, check_level, check_scale, check_softmax
from stacking.diagnosis.seen_rows import check_seen_rows
from stacking.diagnosis.shared_rows import check_shared_rows
from stacking.process.progress import steps

_COSTS = {
    "names and scales": 2.0,
    "levels": 2.0,
    "columns": 8.0,
    "order of rows": 3.0,
    "rows seen in training": 2.0,
    "copies": 2.0,
}
"""What checks take beside each other (10 members, 20,000 samples, 228 labels); for the time left only."""


def check_predictions(  # noqa: PLR0913 - the public call: one argument per input
    predictions: Any = None,
    y_true: Any = None,
    *,
    models: Sequence[Any] | None = None,
    ids: Any = None,
    labels: Any = None,
    groups: Any = None,
    from_logits: bool | Collection[str] = False,
    test: Any = None,
    test_true: Any = None,
) -> CheckReport:
    """Look for what ruins a blend, before anything is fitted.

    Nothing is refused: a fault is described together with all the others, with what mends it. Found are ids that are
    missing or there twice, misspelt labels, logits and other numbers that are no probabilities, constant and inverted
    scores, rows and columns in another order than their names say, members that were trained on the rows that they
    score, samples and members that are there twice, groups that are split over folds, and labels without positives.

    Parameters
    ----------
    predictions : PredictionSet, path, array of shape (n_models, n_samples, n_labels), mapping or list, optional
        Out-of-fold scores, as `stacking.compare` and `stacking.load_predictions` take them; a mapping or list holds one
        path, frame or matrix per member. Either this or `models`.
    y_true : path, data frame or array of shape (n_samples, n_labels), optional
        The truth, unless `predictions` carry it. Without it, members are held against each other only.
    models : sequence of path or (name, path), optional
        One file per member.
    ids, labels : path or sequence of str, optional
        Names of rows and columns of matrices without names.
    groups : path, series, mapping or array of shape (n_samples,), optional
        Samples that must share a fold, unless truth or predictions carry them.
    from_logits : bool or collection of str, default=False
        Whether scores are logits, or the members whose scores are.
    test : PredictionSet, path, array, mapping or list, optional
        Scores of the same members for samples that none was trained on: members that have seen their rows show beside
        them.
    test_true : path, data frame or array, optional
        The truth of the test samples, unless `test` carries it: with it far more shows.

    Returns
    -------
    CheckReport
        Findings, red ones first; a green one for each check that found nothing.

    Raises
    ------
    FileNotFoundError
        If a file does not exist.
    ValueError
        If neither or both of `predictions` and `models` are given.

    Notes
    -----
    Of more than 20,000 samples of a prediction set or store, as many are drawn at random. The cost is
    O(n_models · n_samples · n_labels²) for the columns and O(n_models · n_samples · n_labels · log n_samples) for the
    order of the rows.

    Examples
    --------
    >>> import numpy as np
    >>> y_true = np.random.default_rng(0).integers(0, 2, (60, 2))
    >>> honest = 0.2 + 0.5 * y_true + 0.1 * np.random.default_rng(1).random((60, 2))
    >>> report = check_predictions({"cnn": honest, "vit": 100 * honest}, y_true)
    >>> [(finding.member, finding.check) for finding in report.of_severity("red")]
    [('vit', 'scale')]
    """
    raw = read_inputs(
        predictions, y_true, models=models, ids=ids, labels=labels, groups=groups, from_logits=from_logits
    )
    test_inputs = None if test is None else read_inputs(test, test_true, labels=labels, from_logits=from_logits)
    with steps(_COSTS) as begin:
        return CheckReport.of(_run_checks(raw, test_inputs, begin))


def _run_checks(raw: RawInputs, test: RawInputs | None, begin: Callable[[str], None]) -> Iterator[Finding]:
    """Run all checks, those of names first: the others need them."""
    begin("names and scales")
    yield from raw.findings
    yield from check_ids(raw)
    yield from check_labels(raw)
    scales = list(check_scale(raw.members))
    yield from scales
    renamed = find_misspelt(raw)
    matched = match_inputs(raw, renamed)
    if matched is None:
        reason = "No sample and label is shared by all inputs, so numbers cannot be compared."
        yield from (Finding("skipped", check, reason) for check in list(CHECKS)[4:])
        return
    matched = _usable(matched).with_frequent_labels()
    begin("levels")
    if not any(finding.severity == "red" for finding in scales):
        yield from check_level(matched)
        yield from check_softmax(matched)
    yield from check_constant(matched)
    inverted = list(check_inverted(matched))
    upside_down = {finding.member for finding in inverted if not finding.labels}
    begin("columns")
    columns = list(check_columns(matched, skip=upside_down))
    begin("order of rows")
    moved = {finding.member for finding in columns}
    faults = [*check_rows(matched, skip=moved), *(one for one in inverted if one.member not in moved), *columns]
    yield from faults
    strange = {finding.member for finding in faults if finding.severity == "red"}
    sound = _without(matched, strange)
    begin("rows seen in training")
    beside = None if test is None else match_inputs(test, renamed)
    if sound is not None:
        yield from check_seen_rows(sound, beside)
    begin("copies")
    yield from check_copies(matched)
    yield from check_shared_rows(matched, beside)
    yield from check_groups(matched)
    yield from check_rare_labels(matched)


def _usable(matched: Matched) -> Matched:
    """Leave out members without any score in common."""
    dead = {name for name, matrix in zip(matched.models, matched.scores, strict=True) if not np.isfinite(matrix).any()}
    return _without(matched, dead) or matched


def _without(matched: Matched, names: set[str]) -> Matched | None:
    """Leave members out: what is said of the others should not depend on them; None where none is left."""
    if not names:
        return matched
    kept = [place for place, name in enumerate(matched.models) if name not in names]
    if not kept:
        return None
    return replace(
        matched,
        models=[matched.models[place] for place in kept],
        scores=matched.scores[kept],
        file_rows=[matched.file_rows[place] for place in kept] if matched.file_rows else (),
        paths=[matched.paths[place] for place in kept] if matched.paths else (),
    )
