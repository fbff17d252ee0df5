"""Label samples with a fitted ensemble and write what it says."""

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, cast

from experiments.labeling.sample_sheet import Filling, SampleSheet, match_sheet, write_sheet
from experiments.labeling.score_table import check_score_suffix, write_scores
from experiments.labeling.tool_files import TOOL_FORMATS, LabeledSamples, check_tool_file, photo_paths, write_for_tool
from experiments.submission import CsvFormat, choose_label_texts, write_labels_csv
from optimizers.registry import did_you_mean
from stacking.files.atomic_files import OutputRefusedError, atomic_writer, check_writable, sha256_file
from stacking.files.output_folder import hash_request
from stacking.files.output_rules import ResultKind, check_output_file, read_manifest
from stacking.predictions.forms.bundle import check_bundle_target

if TYPE_CHECKING:
    from base_models.training.progress import TrainingEvent
    from stacking.ensemble.ensemble import StackingEnsemble
    from stacking.predictions import PredictionSet

_NO_TEXT = frozenset(
    (".npz", ".npy", ".parquet", ".feather", ".arrow", ".h5", ".hdf5", ".json", ".xlsx", ".gz", ".zip", ".onnx")
)
"""Endings that promise something else than the text of a table: whoever opens such a file would find it damaged."""

FORMATS = ("labels", "submission", *TOOL_FORMATS)
MOST_PHOTOS_IN_MEMORY = 5_000  # 250 MB at 128 pixels; more are packed, and their scores written, as they come; a choice


@dataclass(frozen=True)
class LabelCounts:
    """How much was written.

    Attributes
    ----------
    n_samples : int
        Samples labeled.
    labels_per_sample : float
        Mean number of labels.
    filling : Filling
        What a sheet and the predictions did not share.
    """

    n_samples: int
    labels_per_sample: float
    filling: Filling = field(default_factory=Filling)


@dataclass(frozen=True)
class LabelTarget:
    """The files of one labeling: the labels, the scores if wanted, and the manifest that names both.

    Attributes
    ----------
    out : Path
        File of the labels; ``<out>.manifest.json`` beside it says how it was made, and that it may be replaced when
        asked.
    scores_out : Path, optional
        Scores: a bundle, or a table by its ending (`experiments.labeling.score_table`).
    form : {'labels', 'submission', 'label-studio', 'fiftyone'}, default='labels'
        A CSV file, see `experiments.submission`, or one for another tool, see `experiments.labeling.tool_files`.
    guard : bool, default=False
        See `write_labels_csv`.
    texts : sequence of str, optional
        What the file calls the ensemble's labels, see `label_texts`, which is asked by default.
    sheet : SampleSheet, optional
        The contest's ids and header, for ``submission``.
    overwrite : bool, default=False
        Replace the files of an earlier labeling.
    inputs : sequence of Path
        What is read; none of it is written to.
    images : Path, optional
        The folder of the photos, for another tool.
    """

    out: Path
    scores_out: Path | None = None
    form: str = "labels"
    guard: bool = False
    texts: Sequence[str] | None = None
    sheet: SampleSheet | None = None
    overwrite: bool = False
    inputs: Sequence[Path] = ()
    images: Path | None = None

    @property
    def manifest(self) -> Path:
        """Return the file that says how the others were made."""
        return self.out.with_name(self.out.name + ".manifest.json")

    @property
    def files(self) -> list[Path]:
        """Return the labels and, if wanted, the scores."""
        return [self.out] if self.scores_out is None else [self.out, self.scores_out]

    def check(self) -> None:
        """Raise before any work if the results could not be written.

        Raises
        ------
        ValueError
            If a path is a folder, a link, no regular file or an input, the scores have another ending, or the form is
            unknown.
        OSError
            If a folder cannot be written or its disk is full.
        """
        if self.form not in FORMATS:
            names = ", ".join(map(repr, FORMATS[:-1]))
            raise ValueError(
                f"--format must be {names} or {FORMATS[-1]!r}: got {self.form!r}.{did_you_mean(self.form, FORMATS)}"
            )
        check_tool_file(self.out, self.form)
        if self.out.is_dir() and not self.out.is_symlink():
            raise ValueError(
                f"--out must be a file for the labels: {str(self.out)!r} is a folder; write "
                f"{str(self.out / ('labels.json' if self.form in TOOL_FORMATS else 'labels.csv'))!r}."
            )
        for path in (*self.files, self.manifest):
            check_output_file(path, overwrite=True, inputs=self.inputs)
        if self.out.suffix.lower() in _NO_TEXT and self.form not in TOOL_FORMATS:
            raise ValueError(
                f"--out must be a text file for the labels, such as 'labels.csv': got {str(self.out)!r}; scores go to "
                "--scores-out."
            )
        if self.scores_out is not None:
            check_score_suffix(self.scores_out)
        if self.scores_out is not None and self.scores_out.resolve() == self.out.resolve():
            raise ValueError(f"--scores-out must differ from --out: both are {str(self.out)!r}.")
        for path in (*self.files, self.manifest):
            check_writable(path.parent)
            path.parent.mkdir(parents=True, exist_ok=True)

    def holds(self, manifest: Mapping[str, Any]) -> bool:
        """Return whether the very result is there already; refuse to replace anything that was not to be.

        Parameters
        ----------
        manifest : mapping
            From `build_manifest`, before the work.

        Returns
        -------
        bool
            True where nothing is to be done.

        Raises
        ------
        OutputRefusedError
            If a file is there that is not ours, or that was not to be replaced.
        """
        earlier = self._read_earlier()
        if earlier is not None and earlier.get("request") == hash_request(manifest):
            hashes = earlier["files"]
            there = [path for path in self.files if path.exists()]
            if all(
                sha256_file(path) == hashes.get(str(number)) for number, path in enumerate(self.files) if path in there
            ):
                return len(there) == len(self.files) and not self.overwrite
        for path in (*self.files, self.manifest):
            check_output_file(path, overwrite=self.overwrite)
        for path in (self.out, self.manifest):
            if path.exists() and earlier is None:
                raise OutputRefusedError(
                    f"{path} is no file that labelstack wrote, by {self.manifest.name}: choose another name."
                )
        if self.scores_out is not None and self.scores_out.suffix.lower() == ".npz":
            check_bundle_target(self.scores_out, overwrite=self.overwrite)
        elif self.scores_out is not None and self.scores_out.exists():
            # A table carries no mark of ours: the manifest knows its hash, and that of the one it was to replace.
            ours = () if earlier is None else (earlier["files"].get("1"), earlier.get("replaces"))
            if sha256_file(self.scores_out) not in ours:
                raise OutputRefusedError(
                    f"{self.scores_out} is no file that labelstack wrote, by {self.manifest.name}: choose another name."
                )
        return False

    def _read_earlier(self) -> dict[str, Any] | None:
        """Return the manifest of an earlier labeling; None where there is none."""
        return read_manifest(self.manifest.parent, ResultKind("labels", self.manifest.name, _files_of))

    def _hash_replaced(self, new: str | None) -> str | None:
        """Return the hash of the table of scores that is replaced; if it is the new one already, of that before it."""
        if self.scores_out is None or self.scores_out.suffix.lower() == ".npz" or not self.scores_out.exists():
            return None
        there = sha256_file(self.scores_out)
        return there if there != new else (self._read_earlier() or {}).get("replaces")

    def write(
        self,
        table: bytes,
        scores: "PredictionSet | None",
        manifest: Mapping[str, Any],
        found: Mapping[str, Any] | None = None,
    ) -> None:
        """Write all files, then give them their names, the manifest first, since it says which are ours.

        Parameters
        ----------
        table : bytes
            The labels, as `write_labels_csv` writes them.
        scores : PredictionSet, optional
            The scores.
        manifest : mapping
            From `build_manifest`.
        found : mapping, optional
            What else to record, which is no part of the request.
        """
        with ExitStack() as stack:
            written = [stack.enter_context(atomic_writer(path, replace=path.exists())) for path in self.files]
            written[0].write(table)
            if scores is not None and self.scores_out is not None:
                write_scores(scores, written[1], self.scores_out.suffix.lower(), guard=self.guard)
            hashes = {str(number): _hash(file) for number, file in enumerate(written)}
            last = stack.enter_context(atomic_writer(self.manifest))  # closed, and so renamed, before the others
            content = {**manifest, **(found or {}), "files": hashes, "request": hash_request(manifest)}
            replaced = self._hash_replaced(hashes.get("1"))
            if replaced is not None:
                content["replaces"] = replaced
            last.write((json.dumps(content, indent=1) + "\n").encode("utf-8"))


def _files_of(manifest: Mapping[str, Any]) -> list[str] | None:
    """Return the files of a labeling by its manifest."""
    files = manifest.get("files")
    return list(files) if manifest.get("command") == "predict" and isinstance(files, dict) else None


def _hash(file: BinaryIO) -> str:
    """Bring a file to the disk and hash it."""
    file.flush()
    os.fsync(file.fileno())
    return sha256_file(file.name)


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


@dataclass(frozen=True)
class PhotoScoring:
    """How new photos are scored by the networks of a run.

    Attributes
    ----------
    run : Path
        Run folder.
    images : Path
        Folder of photos; a photo's id is its file name without extension.
    models : tuple of str, optional
        Models that are wanted; the others are neither read nor asked. All by default.
    work : Path, optional
        Folder for decoded photos and finished scores, from which a killed call goes on.
    packs : Path, optional
        Folder of packed photos.
    device : str, default='auto'
        Where to compute.
    n_workers : int, default=-1
        Processes that decode; -1 starts as many as suit.
    n_processes : int, default=1
        Processes that share the photos; more than one need `work`.
    precision : {"trained", "auto"}, default="trained"
        Whether networks may score in bfloat16 where a trial finds it faster and near enough.
    """

    run: Path
    images: Path
    models: tuple[str, ...] | None = None
    work: Path | None = None
    packs: Path | None = None
    device: str = "auto"
    n_workers: int = -1
    n_processes: int = 1
    precision: Literal["trained", "auto"] = "trained"


def score_images(
    scoring: PhotoScoring, *, progress: "Callable[[TrainingEvent], None] | None" = None
) -> "PredictionSet":
    """Score new photos with the networks of a run.

    Parameters
    ----------
    scoring : PhotoScoring
        Run, photos, and how.
    progress : callable, optional
        Takes training events.

    Returns
    -------
    PredictionSet
        One model per model that is wanted.
    """
    from base_models import predict
    from base_models.runs.prediction import PredictOptions

    options = PredictOptions(scoring.work, scoring.packs, scoring.n_processes, scoring.precision)
    return predict(
        scoring.run,
        scoring.images,
        models=scoring.models,
        options=options,
        device=scoring.device,
        n_workers=scoring.n_workers,
        progress=progress,
    )


def own_work_folder(out: Path, images: Path, n_processes: int = 1) -> Path | None:
    """Name the folder that a prediction of many photos works in where none was given, beside its labels.

    Parameters
    ----------
    out : Path
        The file of the labels.
    images : Path
        Folder of photos.
    n_processes : int, default=1
        Processes that share the photos through it.

    Returns
    -------
    Path or None
        ``OUT.work``; None for photos that take little memory, unless a killed call has left it, or processes need it.
    """
    from base_models.manifest import load_photo_folder

    place = out.with_name(out.name + ".work")
    if n_processes > 1:
        return place
    return place if place.is_dir() or len(load_photo_folder(images)[0]) > MOST_PHOTOS_IN_MEMORY else None


def clear_work_of(work: Path) -> None:
    """Delete what a finished prediction has left in its own folder to work in.

    Parameters
    ----------
    work : Path
        From `own_work_folder`.
    """
    from base_models.runs.prediction import clear_work

    clear_work(work)


def label_texts(labels: Sequence[str], label_ids: Sequence[str] | None, form: str) -> tuple[str, ...]:
    """Say what a file calls the labels, and refuse before any work what it could not hold.

    Parameters
    ----------
    labels : sequence of str
        Their names.
    label_ids : sequence of str or None
        Their ids, where the data set has any.
    form : str
        One of `FORMATS`.

    Returns
    -------
    tuple of str
        One text per label; other tools take the names as they are.
    """
    return tuple(labels) if form in TOOL_FORMATS else choose_label_texts(labels, label_ids, form)


def _paths_below(images: Path) -> dict[str, str]:
    """Return where photos lie below their folder."""
    from base_models.manifest import load_photo_folder

    return photo_paths(*load_photo_folder(images))


def label_samples(
    ensemble: "StackingEnsemble",
    predictions: "PredictionSet",
    target: LabelTarget,
    manifest: Mapping[str, Any],
    *,
    without: tuple[str, ...] = (),
    rematch: str = "none",
) -> LabelCounts:
    """Predict labels and write them, with the scores if asked for.

    Parameters
    ----------
    ensemble : StackingEnsemble
        A fitted ensemble.
    predictions : PredictionSet
        Scores of its members.
    target : LabelTarget
        Where to. The bundle of scores has one model ``ensemble``; truth and groups are carried over.
    manifest : mapping
        How the labels are made, from `build_manifest`.
    without : tuple of str, default=()
        Members to leave out.
    rematch : {'none', 'shift', 'per-label'}, default='none'
        Whether thresholds are moved until these samples are predicted as often as those the ensemble was fitted on.

    Returns
    -------
    LabelCounts
        Samples and labels written.
    """
    from stacking.predictions import PredictionSet

    texts = target.texts
    if texts is None:
        texts = label_texts(ensemble.labels_, ensemble.label_ids_ or predictions.label_ids, target.form)
    y_score = ensemble.predict_proba(predictions, without=without)
    y_pred = ensemble.decide(y_score, None if rematch == "none" else ensemble.rematch(y_score, rematch))
    table, filling = io.BytesIO(), Filling()
    if target.form in TOOL_FORMATS:
        model = f"labelstack {ensemble.fingerprint[:8]}"
        photos = {} if target.images is None else _paths_below(target.images)
        folder = "" if target.images is None else target.images.resolve().name
        samples = LabeledSamples(predictions.ids.tolist(), texts, y_pred, y_score, model, photos, folder)
        table.write(write_for_tool(samples, target.form))
    elif target.sheet is None:
        form = cast(CsvFormat, target.form)
        write_labels_csv(table, predictions.ids, texts, y_pred, csv_format=form, guard=target.guard)
    else:
        rows, filling = match_sheet(target.sheet, predictions.ids.tolist())
        write_sheet(table, target.sheet, rows, texts, y_pred, y_score)
    scores = None
    if target.scores_out is not None:
        aligned = predictions.subset(labels=list(ensemble.labels_))
        metadata: dict[str, Any] = {
            name: getattr(aligned, name)
            for name in ("y_true", "y_known", "sample_weight", "groups", "label_groups", "label_ids", "train_frequency")
        }
        metadata["label_ids"] = metadata["label_ids"] or ensemble.label_ids_
        scores = PredictionSet(y_score[None], aligned.ids, ["ensemble"], aligned.labels, **metadata)
    tried = [json.loads(each) for each in predictions.extras.get("arithmetic", ())]
    target.write(table.getvalue(), scores, manifest, {"arithmetic": tried} if tried else {})
    return LabelCounts(len(y_pred), float(y_pred.sum(axis=1).mean()), filling)
