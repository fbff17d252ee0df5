"""The section of a run's report on single labels: where a member is strong and weak, and what it looked at.

For a frequent and a rare label that it knows well, and one of each that it does not, the section shows held-out photos
with the map of a label that was found, one that was predicted wrongly and one that was missed.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from base_models.explanation import MemberExplainer
from base_models.manifest import Manifest
from base_models.runs.inference import MemberNetworks, load_member
from experiments.reports.explaining import draw_beside_maps, how_to_read
from stacking.comparison.held_out import HeldOut
from stacking.metrics import f1_per_label
from stacking.report import Block, Cell, Column, ImageGrid, Paragraph, Photo, Section, Table, Tag, columns_of
from stacking.report.writing import write_score

if TYPE_CHECKING:
    from stacking.predictions import PredictionSet

MIN_POSITIVES = 5  # a choice: the F1 of fewer says little
N_LISTED = 5  # labels of each table: a choice
KINDS = ("found", "predicted wrongly", "missed")


def explanation_section(
    run: Path, manifest: Manifest, member_name: str, fitting: "PredictionSet", held_out: "PredictionSet"
) -> Section:
    """Show which labels a member knows best and worst, and what it looked at.

    Parameters
    ----------
    run : Path
        Folder of a finished run.
    manifest : Manifest
        Gives the held-out photos by id.
    member_name : str
        A member with networks of its own.
    fitting : PredictionSet
        Out-of-fold scores, on which its thresholds are tuned.
    held_out : PredictionSet
        Scores of photos that tuned nothing.

    Returns
    -------
    Section
        A table and, label by label, pictures.
    """
    member = load_member(run, member_name)
    answer = _answer_of(member, fitting, held_out)
    f1 = f1_per_label(answer.y_true, answer.y_pred)
    explainer = MemberExplainer(member)
    grids, shape = _grids(explainer, answer, manifest, _telling_labels(answer, f1), f1)
    note = f"Labels with fewer than {MIN_POSITIVES} positives, and those never predicted, are left out here."
    blocks: list[Block] = [*_strength_tables(answer, f1), Paragraph(note, role="note")]
    if grids:
        blocks += [Paragraph(how_to_read(explainer, shape)), *grids]
    return Section(f"Strengths and weaknesses of {member_name}", blocks)


def _answer_of(member: MemberNetworks, fitting: "PredictionSet", held_out: "PredictionSet") -> HeldOut:
    """Answer with one member for the labels that it covers, its thresholds chosen on the out-of-fold rows."""
    from stacking.decision_rules import apply_thresholds
    from stacking.decision_rules.choice import choose_thresholds

    own, new = (part.subset(models=[member.name], labels=list(member.labels)) for part in (fitting, held_out))
    folds = np.zeros(own.n_samples, np.int64) if own.folds is None else own.folds
    chosen = choose_thresholds(own.model_scores(member.name), own, folds)
    y_score = new.model_scores(member.name)
    y_pred = apply_thresholds(y_score, chosen.thresholds)
    known = np.ones(y_pred.shape, bool) if new.y_known is None else new.y_known  # the rest counts neither way
    return HeldOut(member.name, new.ids, new.labels, new.truth, y_score, y_pred & known)


def _outcomes(answer: HeldOut) -> NDArray[np.int64]:
    """Count, label by label, the photos that were found, predicted wrongly and missed: (3, n_labels)."""
    truth, fired = answer.y_true == 1, answer.y_pred
    return np.stack([(truth & fired).sum(axis=0), (~truth & fired).sum(axis=0), (truth & ~fired).sum(axis=0)])


def _telling_labels(answer: HeldOut, f1: NDArray[np.float64]) -> list[int]:
    """Pick a frequent and a rare label with a high F1 and one of each with a low one, of those with most to show."""
    outcomes = _outcomes(answer)
    counts, n_kinds = outcomes[0] + outcomes[2], (outcomes > 0).sum(axis=0)
    order = np.argsort(-counts, kind="stable")
    order = order[counts[order] >= MIN_POSITIVES]
    picked: list[int] = []
    for half in np.array_split(order, 2):
        if len(half):
            telling = half[n_kinds[half] == n_kinds[half].max()]
            picked += [int(telling[f1[telling].argmax()]), int(telling[f1[telling].argmin()])]
    return list(dict.fromkeys(picked))


def _strength_tables(answer: HeldOut, f1: NDArray[np.float64]) -> list[Table]:
    """List the labels with the best and the worst F1."""
    hits, extras, misses = _outcomes(answer)
    known = np.flatnonzero((hits + misses >= MIN_POSITIVES) & (hits + extras > 0))
    order = known[np.argsort(-f1[known], kind="stable")]
    n_listed = min(N_LISTED, len(order) // 2)
    columns = [
        Column("label"),
        *columns_of("score", "F1", "precision", "recall"),
        *(Column(kind, "count") for kind in KINDS),
    ]
    tables = []
    for which, part in (("best", order[:n_listed]), ("worst", order[len(order) - n_listed :][::-1])):
        rows: list[list[Cell]] = [
            [
                answer.labels[k],
                float(f1[k]),
                float(hits[k] / (hits[k] + extras[k])),
                float(hits[k] / (hits[k] + misses[k])),
                *(int(count[k]) for count in (hits, extras, misses)),
            ]
            for k in part.tolist()
        ]
        caption = f"{answer.method}: the labels with the {which} F1 on {len(answer.ids):,} held-out photos."
        tables.append(Table(columns, rows, caption))
    return tables


def _telling_rows(answer: HeldOut, label: int) -> list[tuple[str, int]]:
    """Pick the surest photo that was found, the surest predicted wrongly, and the farthest missed."""
    score, truth, fired = answer.y_score[:, label], answer.y_true[:, label] == 1, answer.y_pred[:, label]
    picked = []
    for kind, rows, sign in zip(KINDS, (truth & fired, ~truth & fired, truth & ~fired), (1, 1, -1), strict=True):
        if rows.any():
            picked.append((kind, int(np.flatnonzero(rows)[(sign * score[rows]).argmax()])))
    return picked


def _grids(
    explainer: MemberExplainer,
    answer: HeldOut,
    manifest: Manifest,
    labels: list[int],
    f1: NDArray[np.float64],
) -> tuple[list[ImageGrid], tuple[int, ...]]:
    """Draw the pictures label by label; also return height and width of the maps."""
    place = {str(photo_id): row for row, photo_id in enumerate(manifest.ids)}
    asked = [
        (label, kind, row)
        for label in labels
        for kind, row in _telling_rows(answer, label)
        if str(answer.ids[row]) in place
    ]
    if not asked:
        return [], (0, 0)
    indices = np.array([place[str(answer.ids[row])] for _, _, row in asked])
    pictures, shape = draw_beside_maps(explainer, manifest, indices, np.array([label for label, _, _ in asked]))
    tiles: dict[int, list[Photo]] = {}
    for (label, kind, row), picture in zip(asked, pictures, strict=True):
        if picture is not None:
            tag = Tag(f"{kind}, score {write_score(float(answer.y_score[row, label]), 2)}")
            tiles.setdefault(label, []).append(Photo(picture, str(answer.ids[row]), [tag]))
    counts = answer.y_true.sum(axis=0, dtype=np.int64)
    grids = [
        ImageGrid(photos, f"{answer.labels[k]}: F1 {write_score(float(f1[k]), 2)}, {counts[k]:,} positives", wide=True)
        for k, photos in tiles.items()
    ]
    return grids, shape
