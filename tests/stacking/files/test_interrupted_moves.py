"""A result replaced by another: a stop at any step leaves one of them, and the next run finishes the move."""

import contextlib
import errno
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from experiments.reports.result_manifest import build_manifest, commit_result, result_folder
from stacking import PredictionSet, StackingEnsemble, StackingMultilabelClassifier, load_predictions
from stacking.files import atomic_files
from stacking.files.atomic_files import OutputRefusedError
from stacking.files.journal import finish_interrupted
from stacking.files.output_folder import OutputFolder
from stacking.files.output_rules import JOURNAL
from stacking.files.run_lock import run_lock
from stacking.predictions.forms.packing import add_models, pack_predictions


class Killed(BaseException):
    """What a killed process would not have lived to see."""


@pytest.fixture(autouse=True)
def _no_power_cuts(monkeypatch):
    """Syncing is most of the time here, and a stop of the process does not need it."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)


def make_set(seed, models=("a", "b")):
    rng = np.random.default_rng(seed)
    y_true = (rng.random((40, 3)) < 0.4).astype(np.uint8)
    y_true[:3] = np.eye(3)
    y_scores = 1 / (1 + np.exp(1 - 3 * y_true - rng.normal(size=(len(models), 40, 3))))
    return PredictionSet(y_scores, [f"s{row}" for row in range(40)], list(models), list("xyz"), y_true=y_true)


def fit(seed):
    return StackingEnsemble("mean", rule="own-f1", random_state=0).fit(make_set(seed))


def fit_stack(seed):
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(40, 4))
    stack = StackingMultilabelClassifier([("lr", LogisticRegression())], final_estimator="mean", cv=2, random_state=0)
    return stack.fit(features, (features[:, :2] + rng.normal(size=(40, 2)) > 0).astype(int))


def write_report(folder, text):
    with result_folder(folder, "compare", overwrite=True, request=build_manifest("compare", {}, {"x": text})) as output:
        for name in ("report.md", "parts/a.csv"):
            output.path_of(name).write_text(text)
        commit_result(output, {"command": "compare"})


KINDS = {
    "store": (make_set, lambda found, folder: pack_predictions(found, folder, overwrite=True), load_predictions),
    "store by label": (
        make_set,
        lambda found, folder: pack_predictions(found, folder, by_label=True, overwrite=True),
        load_predictions,
    ),
    "ensemble": (fit, lambda found, folder: found.save(folder, overwrite=True), StackingEnsemble.load),
    "stack": (
        fit_stack,
        lambda found, folder: found.save(folder, overwrite=True),
        lambda folder: StackingMultilabelClassifier.load(folder),
    ),
    "report": (lambda seed: f"text {seed}", lambda found, folder: write_report(folder, found), lambda folder: None),
}


@pytest.fixture(scope="module")
def results():
    """An earlier result and a later one of every kind."""
    pytest.importorskip("skops")
    return {kind: (make(1), make(2)) for kind, (make, _, _) in KINDS.items()}


def contents(folder):
    """What lies in a folder, temporary things and all; skops notes the time and where things lay in memory."""
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    if "classifiers.skops" in found:
        found |= {"classifiers.skops": b"", "manifest.json": b""}
    return found


def stop_in_the_move(write, folder):
    """Stop a run that writes at its first step after the journal is there."""
    for number in range(1, 100):
        with pytest.MonkeyPatch.context() as patched:
            stop_at(patched, number, folder)
            with pytest.raises(Killed):
                write()
        if (folder / JOURNAL).exists():
            return
    raise AssertionError("there was no journal")


def stop_at(monkeypatch, number, folder, error=Killed):
    """Stop before the given rename, link or deletion; what cleans up afterwards does not run either."""
    calls = []

    def stopping(original):
        def step(path, *rest, **options):
            if path.is_relative_to(folder) and path.name != ".lock":  # which a process that ends sets free
                calls.append(path)
                if len(calls) == number:
                    raise error
            return original(path, *rest, **options)

        return step

    for name in ("replace", "unlink", "hardlink_to"):
        monkeypatch.setattr(Path, name, stopping(getattr(Path, name)))
    monkeypatch.setattr(OutputFolder, "discard", lambda output: None)
    return calls


@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_at_any_step_is_finished_by_the_next_run(kind, results, tmp_path):
    (earlier, later), (_, write, read) = results[kind], KINDS[kind]
    whole = tmp_path / "whole"
    write(earlier, whole)
    before, base = contents(whole), shutil.copytree(whole, tmp_path / "base")
    write(later, whole)
    expected = contents(whole)
    assert set(expected) == set(before) and expected != before
    pending, number = 0, 0
    while True:
        number += 1 if pending else 3  # what is stopped before the move is swept, wherever it is
        folder = tmp_path / f"stopped{number}"
        shutil.copytree(base, folder)
        with pytest.MonkeyPatch.context() as patched:
            calls = stop_at(patched, number, folder)
            with contextlib.suppress(Killed):
                write(later, folder)
        pending += (folder / JOURNAL).exists()
        read(folder)  # one of the two, whole
        write(later, folder)
        assert contents(folder) == expected, number
        if len(calls) < number:
            break
    assert pending > 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_first_result_stopped_half_way_needs_no_overwrite(kind, results, tmp_path):
    (_, later), (_, write, _) = results[kind], KINDS[kind]
    write(later, tmp_path / "whole")
    for number in range(1, 5):
        folder = tmp_path / f"stopped{number}"
        with pytest.MonkeyPatch.context() as patched:
            stop_at(patched, number, folder)
            with pytest.raises(Killed):
                write(later, folder)
        finish_interrupted(folder)
        write(later, folder)
        assert contents(folder) == contents(tmp_path / "whole")


@pytest.mark.parametrize("kind", ["store", "ensemble", "report"])
def test_a_full_disk_at_any_file_of_a_replacement_loses_nothing(kind, results, tmp_path, monkeypatch):
    (earlier, later), (_, write, read) = results[kind], KINDS[kind]
    folder = tmp_path / "out"
    write(earlier, folder)
    before, create, number = contents(folder), atomic_files.create_file, 0
    while contents(folder) == before:
        number += 1
        made = []

        def full(path, made=made, number=number):
            made.append(path)
            if len(made) == number:
                raise OSError(errno.ENOSPC, "No space left on device", str(path))
            return create(path)

        with monkeypatch.context() as patched:
            for module in ("stacking.files.atomic_files", "stacking.predictions.forms.store"):
                patched.setattr(f"{module}.create_file", full)
            try:
                write(later, folder)
            except OSError:
                assert contents(folder) == before, number
    read(folder)
    assert number > 3


def test_a_journal_is_left_to_whoever_holds_the_folder(tmp_path):
    folder = tmp_path / "out"
    pack_predictions(make_set(1), folder)
    stop_in_the_move(lambda: pack_predictions(make_set(2), folder, overwrite=True), folder)
    with run_lock(folder), pytest.raises(OSError, match="another run"):
        finish_interrupted(folder)
    finish_interrupted(folder)
    assert not (folder / JOURNAL).exists() and not list(folder.glob(".*"))
    finish_interrupted(folder)
    finish_interrupted(tmp_path / "nowhere")


def test_a_stopped_replacement_is_finished_before_a_model_is_added(tmp_path):
    one, other = tmp_path / "one", tmp_path / "other"
    for folder in (one, other):
        pack_predictions(make_set(1), folder)
    pack_predictions(make_set(2), one, overwrite=True)
    stop_in_the_move(lambda: pack_predictions(make_set(2), other, overwrite=True), other)
    added = make_set(3, ["c"])
    for folder in (one, other):
        add_models(folder, PredictionSet(added.to_array(), added.ids, added.models, added.labels))
    assert contents(one) == contents(other)


@pytest.mark.parametrize("entry", ["from", "next"])
@pytest.mark.parametrize("name", ["../elsewhere", ".", "arrays", "../.tmp-0123456789abcdef"])
def test_a_journal_that_leads_elsewhere_moves_nothing(entry, name, tmp_path):
    folder = tmp_path / "out"
    pack_predictions(make_set(1), folder)
    (tmp_path / ".tmp-0123456789abcdef").mkdir()
    (tmp_path / ".tmp-0123456789abcdef" / "ids.npy").write_text("mine")
    journal = {"from": ".tmp-fedcba9876543210", "moves": ["ids.npy"], "stale": [], entry: name}
    (folder / JOURNAL).write_text(json.dumps(journal))
    before = contents(tmp_path)
    with pytest.raises(OutputRefusedError, match="is damaged: it names"):
        finish_interrupted(folder)
    assert contents(tmp_path) == before
