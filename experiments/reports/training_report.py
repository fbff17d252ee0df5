"""The sections of a report that need the run folder or the photos: learning curves, photos with labels, worst errors.

Each function turns arrays or files into one `Section`, data only; `stacking.report` renders it. Every score shown
comes from photos that tuned nothing: the caller passes held-out predictions.
"""

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from base_models.manifest import Manifest
from base_models.photos.encoding import encode_picture
from optimizers._checks import check_random_state
from stacking.comparison.held_out import HeldOut
from stacking.report import Block, Column, Figure, ImageGrid, Paragraph, Photo, Section, Table, Tag, columns_of
from stacking.report.figures import training_curves_figure

PHOTO_SIDE = 144
"""Longer side of a photo in the report, in pixels."""

F1_CAPTION = (
    "Over the labels that the member answers, at the best single threshold, scored alike on the validation rows and on "
    "as many training rows. Faint lines are folds."
)
LOSS_CAPTION = "Log loss of the same rows; where training falls on and validation rises, the member learns by heart."
STEP_CAPTION = "The loss that training lowers, averaged over the steps of the epoch, on photos as they were changed."

MOST_TAGS = 14
"""Labels below a photo, which keep its place in the grid short: a choice."""


def learning_curves_section(run: Path) -> Section:
    """Show how the members learned.

    Parameters
    ----------
    run : Path
        A run folder; ``members/<name>/fold<k>/history.csv`` is read.

    Returns
    -------
    Section
        Micro-F1 and log loss per epoch on training and validation rows, the loss of the steps, and a table.
    """
    folders = sorted(folder for folder in (run / "members").glob("*") if folder.is_dir())
    histories = {folder.name: fold_histories(folder) for folder in folders}
    histories = {name: folds for name, folds in histories.items() if folds}
    if not histories:
        return Section("Learning curves", [Paragraph("No member has finished an epoch.", role="note")])
    figures: list[Block] = []
    for metric, caption, keys in (
        ("micro-F1", F1_CAPTION, {"training": "training_micro_f1", "validation": "validation_micro_f1"}),
        ("log loss", LOSS_CAPTION, {"training": "training_log_loss", "validation": "validation_log_loss"}),
        ("loss of the steps", STEP_CAPTION, {"steps": "loss"}),
    ):
        curves = {
            name: {part: _curves(folds, key) for part, key in keys.items() if all(key in fold for fold in folds)}
            for name, folds in histories.items()
        }
        if any(curves.values()):
            figures.append(Figure(training_curves_figure(curves, metric=metric), caption))
    if not all("training_micro_f1" in fold for folds in histories.values() for fold in folds):
        figures.append(Paragraph("Runs of earlier versions did not record training scores and log losses.", "note"))
    rows = [_member_row(name, folds) for name, folds in histories.items()]
    columns = [
        Column("member"),
        *columns_of("count", "folds", "epochs"),
        Column("best validation micro-F1", "score"),
        Column("training time", "seconds"),
    ]
    intro = (
        "Validation rows are cut from each fold's training part and choose the epoch that is kept; micro-F1 is at the "
        "best single threshold. They are no part of the rows that the fold scores."
    )
    table = Table(columns, rows, "What validation said, averaged over the folds.")
    return Section("Learning curves", [Paragraph(intro), *figures, table, *_sampling_table(histories)])


def _sampling_table(histories: dict[str, list[dict[str, NDArray[np.float64]]]]) -> list[Table]:
    """Say what drawing rows by label frequency has reached, where a member does."""
    rows = []
    for name, folds in histories.items():
        keys = ("sampling_target", "sampling_reached", "effective_sample_size")
        if all(key in fold for fold in folds for key in keys):
            target, reached, size = (float(np.mean([np.nanmean(fold[key]) for fold in folds])) for key in keys)
            rows.append((name, target, reached, round(size)))
    columns = [
        Column("member"),
        *columns_of("number", "exponent aimed at", "exponent reached"),
        Column("effective sample size", "count"),
    ]
    caption = "Rows drawn by label frequency: 1 leaves the frequencies alone, 0 makes them equal; means over the folds."
    return [Table(columns, rows, caption)] if rows else []


def fold_histories(member: Path) -> list[dict[str, NDArray[np.float64]]]:
    """Read the finished epochs of every fold of a member.

    Parameters
    ----------
    member : Path
        Folder of a member in a run.

    Returns
    -------
    list of dict of str to ndarray of shape (n_epochs,)
        The columns of each fold's ``history.csv``; NaN where a cell is empty.
    """
    folds = []
    for path in sorted(member.glob("fold*/history.csv")):
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        if rows:
            folds.append({key: np.array([_number(row[key]) for row in rows]) for key in rows[0]})
    return folds


def _number(text: str | None) -> float:
    """Read a number; anything else is NaN."""
    try:
        return float(text or "nan")
    except ValueError:
        return float("nan")


def _curves(folds: list[dict[str, NDArray[np.float64]]], key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lay one column of a member's folds side by side, NaN where a fold stopped earlier."""
    n_epochs = max(len(fold[key]) for fold in folds)
    values = np.full((len(folds), n_epochs), np.nan)
    for row, fold in zip(values, folds, strict=True):
        row[: len(fold[key])] = fold[key]
    return np.arange(1, n_epochs + 1, dtype=np.float64), values


def _member_row(name: str, folds: list[dict[str, NDArray[np.float64]]]) -> tuple[str, int, int, float, float | None]:
    """Summarize one member."""
    best = float(np.mean([np.nanmax(fold["validation_micro_f1"]) for fold in folds]))
    seconds = float(sum(np.nansum(fold["seconds"]) for fold in folds)) if "seconds" in folds[0] else None
    return name, len(folds), max(len(fold["validation_micro_f1"]) for fold in folds), best, seconds


def photos_section(answer: HeldOut, manifest: Manifest, *, n_photos: int = 24, random_state: int = 0) -> Section:
    """Show held-out photos with their true and predicted labels.

    Parameters
    ----------
    answer : HeldOut
        Held-out labels of one method.
    manifest : Manifest
        Gives the photos by id.
    n_photos : int, default=24
        How many, drawn at random.
    random_state : int, default=0
        Seed of the draw.

    Returns
    -------
    Section
        A grid: labels predicted rightly, missed, and predicted wrongly are told apart.
    """
    rng = check_random_state(random_state)
    chosen = np.sort(rng.permutation(len(answer.ids))[:n_photos])
    caption = f"{len(chosen)} held-out photos drawn at random, labeled by {answer.method}."
    return Section("Photos", [ImageGrid(_grid(answer, chosen, manifest), caption)])


def worst_errors_section(answer: HeldOut, manifest: Manifest, *, n_photos: int = 12, n_pairs: int = 15) -> Section:
    """Show the photos with the largest loss and the most confident single mistakes.

    Parameters
    ----------
    answer : HeldOut
        Held-out scores of one method.
    manifest : Manifest
        Gives the photos by id.
    n_photos : int, default=12
        How many photos.
    n_pairs : int, default=15
        How many single mistakes.

    Returns
    -------
    Section
        A grid and a table.
    """
    # bounded, so that one certain mistake does not outweigh a whole row of others
    score = np.clip(answer.y_score.astype(np.float64), 1e-6, 1 - 1e-6)
    surprise = -np.log(np.where(answer.y_true == 1, score, 1 - score))  # (n_samples, n_labels)
    worst = np.argsort(-surprise.sum(axis=1), kind="stable")[:n_photos]
    wrong = np.where(answer.y_pred != (answer.y_true == 1), surprise, -1.0)
    pairs = np.argsort(-wrong, axis=None, kind="stable")[:n_pairs]
    rows = [
        (
            str(answer.ids[row]),
            answer.labels[column],
            "missed" if answer.y_true[row, column] else "predicted wrongly",
            float(answer.y_score[row, column]),
        )
        for row, column in (divmod(int(pair), len(answer.labels)) for pair in pairs)
        if wrong[row, column] > 0
    ]
    table = Table(["photo", "label", "mistake", Column("score", "score")], rows, "The most confident single mistakes.")
    note = "A mistake may be the annotation's: labels that annotators left out count as absent."
    return Section(
        "Worst errors",
        [
            Paragraph(note, role="note"),
            ImageGrid(_grid(answer, worst, manifest), "The photos with the largest log loss."),
            table,
        ],
    )


def _grid(answer: HeldOut, rows: NDArray[np.int64], manifest: Manifest) -> list[Photo]:
    """Return the photos of some rows that can be read, with judged labels."""
    place = {str(photo_id): row for row, photo_id in enumerate(manifest.ids)}
    photos = []
    for row in rows:
        photo_id = str(answer.ids[row])
        if photo_id in place:
            tags = judged_tags(answer.labels, answer.y_true[row], answer.y_pred[row])
            photos.append(Photo(small_jpeg(manifest.read_photo(place[photo_id])), photo_id, tags))
    return photos


def judged_tags(labels: tuple[str, ...], y_true: NDArray[np.uint8], y_pred: NDArray[np.bool_]) -> list[Tag]:
    """Judge the labels of one sample: hits first, then misses, then extras.

    Parameters
    ----------
    labels : tuple of str
        Names.
    y_true, y_pred : ndarray of shape (n_labels,)
        Truth and prediction of one sample.

    Returns
    -------
    list of Tag
        At most 14, with a last one that counts the rest.

    Examples
    --------
    >>> [tag.kind for tag in judged_tags(("a", "b", "c"), np.array([1, 1, 0]), np.array([True, False, True]))]
    ['hit', 'miss', 'extra']
    """
    truth = np.asarray(y_true, dtype=bool)
    tags = [Tag(labels[i], "hit") for i in np.flatnonzero(truth & y_pred)]
    tags += [Tag(labels[i], "miss") for i in np.flatnonzero(truth & ~y_pred)]
    tags += [Tag(labels[i], "extra") for i in np.flatnonzero(~truth & y_pred)]
    return tags if len(tags) <= MOST_TAGS else [*tags[: MOST_TAGS - 1], Tag(f"and {len(tags) - MOST_TAGS + 1} more")]


def small_jpeg(photo: Image.Image) -> bytes:
    """Shrink one photo for the report.

    Parameters
    ----------
    photo : PIL.Image.Image
        Shrunk in place.

    Returns
    -------
    bytes
        A JPEG whose longer side is at most 144 pixels.
    """
    photo.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
    return encode_picture(photo, quality=82)
