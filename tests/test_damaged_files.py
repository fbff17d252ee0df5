"""Whatever was written and hashed is checked by its bytes: one flipped bit or one lost byte names the file.

The time of the file is put back, since clocks jump and copies keep times: the hash decides, never the time.
"""

import json
import os
import shutil

import numpy as np
import pytest

from stacking import StackingEnsemble, load_predictions
from stacking.predictions import save_predictions
from stacking.testing import make_predictions


def flip(data):
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 4]) + data[middle + 1 :]


DAMAGES = {"one bit flipped": flip, "one byte lost": lambda data: data[:-1]}


def make_store(folder):
    save_predictions(make_predictions(), folder)
    return lambda: load_predictions(folder)


def make_bundle(folder):
    folder.mkdir()
    path = save_predictions(make_predictions(), folder / "bundle.npz")
    return lambda: load_predictions(path)


def make_ensemble(folder):
    predictions = make_predictions(2, 600, 1)
    middle = (np.abs(predictions.to_array()[0] - 0.5) < 0.25).astype(np.uint8)  # no straight line: it takes trees
    StackingEnsemble("lightgbm", n_splits=2).fit(predictions.with_truth(middle)).save(folder)
    assert list(folder.rglob("*.txt"))
    return lambda: StackingEnsemble.load(folder)


def make_fold(folder):
    pytest.importorskip("torch")
    from base_models.runs.fold_record import fold_is_done
    from base_models.runs.folder import write_npz
    from stacking.files.atomic_files import sha256_file

    folder.mkdir()
    write_npz(folder / "oof.npz", rows=[0, 1], columns=[0], scores=[[0.5], [0.25]])
    (folder / "weights.safetensors").write_bytes(bytes(range(256)))
    digests = {path.name: sha256_file(path) for path in folder.iterdir()}
    (folder / "done.json").write_text(json.dumps({"files": digests}))
    return lambda: fold_is_done(folder)


def make_checkpoint(folder):
    torch = pytest.importorskip("torch")
    from base_models.training.checkpoints import Checkpoint, load_checkpoint, save_checkpoint

    folder.mkdir()
    tensors = {"weight": torch.arange(40.0)}
    saved = Checkpoint(1, tensors, {}, {"state": tensors}, [{"epoch": 1, "validation_micro_f1": 0.5}], 1)
    save_checkpoint(folder, saved, tensors)
    return lambda: load_checkpoint(folder)


WRITERS = {
    "store": make_store,
    "bundle": make_bundle,
    "ensemble": make_ensemble,
    "fold": make_fold,
    "checkpoint": make_checkpoint,
}
UNHASHED = {"index.json", "manifest.json", "done.json", "last.json", "history.csv", "README.md"}
"""Markers are written last and hold the hashes; a training's history and a card are for people, who may edit them."""


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("kind", WRITERS)
def test_every_file_is_checked_by_its_bytes_and_not_by_its_time(kind, damage, tmp_path):
    read = WRITERS[kind](tmp_path / "folder")
    read()
    files = [path for path in (tmp_path / "folder").rglob("*") if path.is_file() and path.name not in UNHASHED]
    assert files
    for path in files:
        shutil.copy2(path, tmp_path / "whole")
        if not path.stat().st_size or path.name.endswith(".lock"):
            continue
        stamp = path.stat()
        path.write_bytes(damage(path.read_bytes()))
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        with pytest.raises(ValueError, match=path.name.replace(".", r"\.")):
            read()
        shutil.copy2(tmp_path / "whole", path)
    read()
