"""Label samples with a fitted ensemble and write what it says."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from experiments.reports.result_manifest import build_manifest
from experiments.submission import CsvFormat, check_csv_format, choose_label_texts, write_labels_csv
from stacking.files.atomic_files import check_writable

if TYPE_CHECKING:
    from base_models.training.progress import TrainingEvent
    from stacking.ensemble.ensemble import StackingEnsemble
    from stacking.predictions import PredictionSet


@dataclass(frozen=True)
class LabelCounts:
    """How much was written.

    Attributes
    ----------
    n_samples : int
        Samples labelled.
    labels_per_sample : float
        Mean number of labels.
    """

    n_samples: int
    labels_per_sample: float


def check_targets(out: Path, scores_out: Path | None, csv_format: str) -> None:
    """Raise before any work if the results could not be written.

    Parameters
    ----------
    out : Path
        CSV file.
    scores_out : Path or None
        Bundle of scores.
    csv_format : str
        Form of the CSV file.

    Raises
    ------
    ValueError
        If a path is a folder, the scores are no ``.npz``, or the form is unknown.
    OSError
        If a folder cannot be written or its disk is full.
    """
    check_csv_format(csv_format)
    if out.is_dir():
        raise ValueError(
            f"--out must be a file for the labels: {str(out)!r} is a folder; write {str(out / 'labels.csv')!r}."
        )
    if scores_out is not None and scores_out.suffix != ".npz":
        raise ValueError(f"--scores-out must end in .npz: got {str(scores_out)!r}.")
    for path in (out, scores_out):
        if path is not None:
            check_writable(path.parent)
            path.parent.mkdir(parents=True, exist_ok=True)


def label_ids_of(names: Sequence[str], labels: Path | None) -> tuple[str, ...] | None:
    """Take the ids of labels from a label table.

    Parameters
    ----------
    names : sequence of str
        The labels.
    labels : Path or None
        The table.

    Returns
    -------
    tuple of str or None
        One id per label, None where the table has none or lacks a label.
    """
    from stacking.predictions.forms.name_lists import read_label_list

    found = None if labels is None else read_label_list(labels)
    return None if found is None else ids_in_order(names, found.names, found.ids)


def ids_in_order(names: Sequence[str], found: Sequence[str], label_ids: Sequence[str] | None) -> tuple[str, ...] | None:
    """Bring the ids of labels into another order of the labels.

    Parameters
    ----------
    names : sequence of str
        The labels.
    found : sequence of str
        The labels in the order of the ids.
    label_ids : sequence of str or None
        Their ids.

    Returns
    -------
    tuple of str or None
        One id per label, None where one is not known.

    Examples
    --------
    >>> ids_in_order(["red", "blue"], ["blue", "red"], ["7", "9"])
    ('9', '7')
    """
    by_name = dict(zip(found, label_ids or (), strict=False))
    return tuple(by_name[name] for name in names) if all(name in by_name for name in names) else None


def check_run(ensemble: "StackingEnsemble", run: Path, without: Sequence[str] = ()) -> tuple[str, ...] | None:
    """Raise before photos are scored where the members and labels of a run are not those of an ensemble.

    Parameters
    ----------
    ensemble : StackingEnsemble
        A fitted ensemble.
    run : Path
        Run folder.
    without : sequence of str, default=()
        Members to leave out.

    Returns
    -------
    tuple of str or None
        The ids of the ensemble's labels, where the run knows them.

    Raises
    ------
    ValueError
        If the run is not finished, a member or label is missing, or `without` names an unknown member.
    """
    from base_models.runs.inference import read_run_names

    names = read_run_names(run)
    ensemble.check_names(names.models, names.labels, without=without)
    return ids_in_order(ensemble.labels_, names.labels, names.label_ids)


def score_images(
    run: Path, images: Path, *, device: str = "auto", progress: "Callable[[TrainingEvent], None] | None" = None
) -> "PredictionSet":
    """Score new photos with the networks of a run.

    Parameters
    ----------
    run : Path
        Run folder.
    images : Path
        Folder of photos; a photo's id is its file name without extension.
    device : str, default='auto'
        Where to compute.
    progress : callable, optional
        Takes training events.

    Returns
    -------
    PredictionSet
        One model per member of the run.
    """
    from base_models import predict

    return predict(run, images, device=device, progress=progress)


def label_samples(  # noqa: PLR0913 - the options of one command
    ensemble: "StackingEnsemble",
    predictions: "PredictionSet",
    out: Path,
    *,
    scores_out: Path | None = None,
    csv_format: str = "labels",
    without: tuple[str, ...] = (),
    rematch: str = "none",
    guard: bool = False,
    texts: Sequence[str] | None = None,
) -> LabelCounts:
    """Predict labels and write them, with the scores if asked for.

    Parameters
    ----------
    ensemble : StackingEnsemble
        A fitted ensemble.
    predictions : PredictionSet
        Scores of its members.
    out : Path
        CSV file; ``<out>.manifest.json`` beside it says how it was made.
    scores_out : Path, optional
        Bundle with one model ``ensemble``; truth and groups are carried over.
    csv_format : {'labels', 'submission'}, default='labels'
        Form of the CSV file.
    without : tuple of str, default=()
        Members to leave out.
    rematch : {'none', 'shift', 'per-label'}, default='none'
        Whether thresholds are moved until these samples are predicted as often as those the ensemble was fitted on.
    guard : bool, default=False
        See `write_labels_csv`.
    texts : sequence of str, optional
        What the CSV file calls the ensemble's labels, see `choose_label_texts`, which is asked by default.

    Returns
    -------
    LabelCounts
        Samples and labels written.
    """
    from stacking.files.atomic_files import atomic_write_json
    from stacking.predictions import PredictionSet, save_predictions

    form = cast(CsvFormat, csv_format)
    if texts is None:
        texts = choose_label_texts(ensemble.labels_, ensemble.label_ids_ or predictions.label_ids, form)
    y_score = ensemble.predict_proba(predictions, without=without)
    y_pred = ensemble.decide(y_score, None if rematch == "none" else ensemble.rematch(y_score, rematch))
    write_labels_csv(out, predictions.ids, texts, y_pred, csv_format=form, guard=guard)
    aligned = predictions.subset(labels=list(ensemble.labels_))
    if scores_out is not None:
        facts: dict[str, Any] = {
            name: getattr(aligned, name)
            for name in ("y_true", "y_known", "sample_weight", "groups", "label_groups", "label_ids", "train_frequency")
        }
        facts["label_ids"] = facts["label_ids"] or ensemble.label_ids_
        scores = PredictionSet(y_score[None], aligned.ids, ["ensemble"], aligned.labels, **facts)
        save_predictions(scores, scores_out)
    inputs = {"ensemble": ensemble.fingerprint, "predictions": predictions.fingerprint}
    options = {"without": without, "format": csv_format, "guard": guard, "rematch": rematch}
    atomic_write_json(out.with_name(out.name + ".manifest.json"), build_manifest("predict", inputs, options))
    return LabelCounts(len(y_pred), float(y_pred.sum(axis=1).mean()))
