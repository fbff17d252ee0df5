"""Convert predictions, add or drop models, hold rows back: what `labelstack pack` does, as a function."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from experiments.row_split import hold_back
from experiments.several_sets import store_of
from stacking.files.output_rules import check_folder, check_not_input, url_of
from stacking.files.remote import check_remote, local_copy, path_of
from stacking.predictions import (
    PredictionSet,
    add_by_label_copy,
    align_predictions,
    is_store,
    load_predictions,
    pack_predictions,
    save_predictions,
)
from stacking.predictions.forms.bundle import check_bundle_target
from stacking.predictions.forms.label_cells import LabelList
from stacking.predictions.forms.packing import are_equal, change_store, holds_predictions
from stacking.predictions.forms.store_index import STORE, read_index
from stacking.predictions.forms.text_form import member_name


@dataclass(frozen=True)
class PackingPlan:
    """What to change on the way.

    Attributes
    ----------
    added : mapping of str to Path
        Name and file of each model to add, or of a store, bundle or run of several, whose models get the name before
        theirs where it is not the file's own, or where they are called like others.
    added_from_logits : bool or collection of str, default=False
        Whether the files of `added` hold logits, or the names of those that do.
    dropped : tuple of str
        Models to leave out.
    by_label : bool, default=False
        Also write a store's copy for reading label by label.
    overwrite : bool, default=False
        Replace a store or bundle that is already there.
    share : float, optional
        Share of the rows that is kept; the rest goes to `rest_out`.
    rest_out : Path, optional
        Where the rest goes.
    random_state : int, default=0
        Seed of that split.
    inputs : tuple of Path, default=()
        What is read; none of it is written to, but for a store that is changed in place.
    """

    added: Mapping[str, Path] = field(default_factory=dict)
    added_from_logits: bool | Collection[str] = False
    dropped: tuple[str, ...] = ()
    by_label: bool = False
    overwrite: bool = False
    share: float | None = None
    rest_out: Path | None = None
    random_state: int = 0
    inputs: tuple[Path, ...] = ()


def repack(
    predictions: PredictionSet, out: Path, plan: PackingPlan, *, source: Path | None = None
) -> list[tuple[Path, PredictionSet]]:
    """Write predictions as a store or bundle with the changes that are planned.

    Parameters
    ----------
    predictions : PredictionSet
        What to write.
    out : Path
        A folder for a store, or a file ending in ``.npz`` for a bundle. The store at `source` is changed in place.
    plan : PackingPlan
        What to change.
    source : Path, optional
        Where the predictions came from.

    Returns
    -------
    list of (Path, PredictionSet)
        What was written where.

    Raises
    ------
    ValueError
        If the plan does not fit together, or a model is unknown or there already.
    """
    out, plan = path_of(out) or out, replace(plan, rest_out=plan.rest_out and (path_of(plan.rest_out) or plan.rest_out))
    source = source and path_of(source)
    _check_plan(out, plan)
    in_place = source is not None and is_store(out) and source.resolve() == out.resolve()
    inputs = [path for path in plan.inputs if not (in_place and path == source)]
    for path in (out, plan.rest_out):
        if path is not None and url_of(path) is not None:
            check_remote(path, None if _is_bundle(path) else STORE, overwrite=True)
        elif path is not None:
            if not _is_bundle(path):
                check_folder(path)
            check_not_input(path, inputs, is_folder=not _is_bundle(path))
    added = _load_added(predictions, plan)
    if in_place:
        return [(out, _change_in_place(predictions, out, added, plan))]
    if added is not None:
        _check_new(predictions, added)
        predictions = align_predictions([predictions, added], ids=predictions.ids, labels=predictions.labels)
    if plan.dropped:
        predictions = _without(predictions, plan.dropped)
    if plan.share is None or plan.rest_out is None:
        return [(out, _write(predictions, out, plan))]
    kept, rest = hold_back(predictions, plan.share, random_state=plan.random_state)
    return [(out, _write(kept, out, plan)), (plan.rest_out, _write(rest, plan.rest_out, plan))]


def _check_plan(out: Path, plan: PackingPlan) -> None:
    """Raise if options contradict each other."""
    if (plan.share is None) != (plan.rest_out is None):
        raise ValueError("--split and --rest-out belong together: say where the rows that are held back go.")
    if plan.rest_out is not None and (url_of(plan.rest_out) or plan.rest_out.resolve()) == (
        url_of(out) or out.resolve()
    ):
        raise ValueError(f"--rest-out must differ from --out: both are {str(out)!r}.")
    if plan.rest_out is not None and plan.rest_out.resolve().is_relative_to(out.resolve()):
        raise ValueError(f"--rest-out must not lie in --out: {plan.rest_out} lies in {out}; choose another.")
    if plan.by_label and _is_bundle(out):
        raise ValueError(f"--by-label needs a store: {str(out)!r} is a bundle; give --out a folder.")


def _load_added(predictions: PredictionSet, plan: PackingPlan) -> PredictionSet | None:
    """Load the models to add, aligned with what is there."""
    if not plan.added:
        return None
    labels = LabelList(predictions.labels, predictions.label_ids)
    several, files, taken = [], [], set(predictions.models) - set(plan.dropped)
    for name, given in plan.added.items():
        path = store_of(local_copy(given, STORE, "--add"))
        opened = load_predictions(path, from_logits=plan.added_from_logits is True) if _may_hold_several(path) else None
        if opened is None or opened.n_models == 1:
            files.append((name, path))
            taken.add(name)
        else:
            several.append(_renamed(opened, name, taken, is_given=name != member_name(given)))
            taken.update(several[-1].models)
    if files:
        one_each = load_predictions(
            models=files, ids=predictions.ids, labels=labels, from_logits=plan.added_from_logits
        )
        several.append(one_each)
    return align_predictions(several, ids=predictions.ids, labels=predictions.labels)


def _may_hold_several(path: Path) -> bool:
    """Tell whether a path is a store or a bundle."""
    return is_store(path) or path.suffix.lower() == ".npz"


def _renamed(opened: PredictionSet, name: str, taken: Collection[str], *, is_given: bool) -> PredictionSet:
    """Put the name of a set before its models, where it was given, and else before those whose names are taken."""
    models = [f"{name}/{model}" if is_given or model in taken else model for model in opened.models]
    return PredictionSet(opened.source, opened.ids, models, opened.labels, **opened.metadata())


def _check_new(predictions: PredictionSet, added: PredictionSet) -> None:
    """Raise if a model is there already."""
    for name in added.models:
        if name in predictions.models:
            raise ValueError(
                f"--add must name a new model: {name!r} is there already; drop it first, or write OTHER=FILE."
            )


def _change_in_place(
    predictions: PredictionSet, store: Path, added: PredictionSet | None, plan: PackingPlan
) -> PredictionSet:
    """Change a store where it lies: first its truth, names and order if they were given, then its models."""
    if plan.share is not None:
        raise ValueError(f"--split cannot write into the store it reads: {str(store)!r}; give another --out.")
    index = read_index(store)
    if not holds_predictions(store, predictions, dtype=index.dtype):
        wants_by_label = bool(index.by_label) or index.wants_by_label
        pack_predictions(predictions, store, dtype=index.dtype, by_label=wants_by_label, overwrite=True)
    elif index.wants_by_label:  # a kill has stopped this very change before the copy was written
        add_by_label_copy(store)
    if plan.dropped or added is not None:
        change_store(store, added=added, dropped=plan.dropped)
    if plan.by_label:
        add_by_label_copy(store)
    return load_predictions(store)


def _without(predictions: PredictionSet, dropped: tuple[str, ...]) -> PredictionSet:
    """Leave models out, naming an unknown one."""
    predictions.subset(models=list(dropped))  # says which name is unknown
    kept = [name for name in predictions.models if name not in dropped]
    if not kept:
        raise ValueError(f"--drop must leave at least one model: got all {predictions.n_models}.")
    return predictions.subset(models=kept)


def _is_bundle(path: Path) -> bool:
    """Tell whether a path is for a bundle."""
    return path.suffix.lower() == ".npz"


def _write(predictions: PredictionSet, out: Path, plan: PackingPlan) -> PredictionSet:
    """Write one set, unless the very same is there."""
    if url_of(out) is not None:
        if plan.overwrite or not _is_there_remotely(out, predictions):
            write = save_predictions if _is_bundle(out) else partial(pack_predictions, by_label=plan.by_label)
            write(predictions, out, overwrite=plan.overwrite)
        return predictions
    out.parent.mkdir(parents=True, exist_ok=True)
    if _is_bundle(out):
        if plan.overwrite or not _is_there(out, predictions):
            save_predictions(predictions, out, overwrite=plan.overwrite)
    elif not plan.overwrite and holds_predictions(out, predictions):
        if plan.by_label:
            add_by_label_copy(out)
    else:
        pack_predictions(predictions, out, by_label=plan.by_label, overwrite=plan.overwrite)
    return predictions


def _is_there_remotely(out: Path, predictions: PredictionSet) -> bool:
    """Return whether an object store holds these very predictions."""
    try:
        return are_equal(load_predictions(out), predictions)
    except (OSError, ValueError):
        return False


def _is_there(bundle: Path, predictions: PredictionSet) -> bool:
    """Return whether a bundle holds these very predictions, so that a command started again has nothing to do."""
    try:
        check_bundle_target(bundle, overwrite=True)
        return bundle.is_file() and are_equal(load_predictions(bundle), predictions)
    except (OSError, ValueError):
        return False
