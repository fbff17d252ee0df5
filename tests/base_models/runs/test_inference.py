"""New photos: the mean of the fold models."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models import predict  # noqa: E402
from base_models.manifest import load_manifest  # noqa: E402
from stacking.predictions import load_predictions  # noqa: E402


def test_the_test_photos_score_as_in_the_run(tiny_run, tiny_photos):
    manifest = load_manifest(tiny_photos, Path())
    found = predict(tiny_run, manifest.select(manifest.split_rows("test")), device="cpu")
    recorded = load_predictions(tiny_run / "test")
    assert (found.models, found.labels, found.ids.tolist()) == (recorded.models, recorded.labels, recorded.ids.tolist())
    np.testing.assert_allclose(found.to_array(), recorded.to_array(), atol=1e-6)
    np.testing.assert_array_equal(found.covers, recorded.covers)
    np.testing.assert_array_equal(found.y_true, recorded.y_true)


def test_a_folder_of_photos_is_enough_and_unreadable_ones_are_listed(tiny_run, tiny_photos, tmp_path, caplog):
    for name in ("photo000.png", "photo001.png"):
        shutil.copy(Path(tiny_photos.root) / name, tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    events = []
    found = predict(tiny_run, tmp_path, device="cpu", progress=events.append)
    assert found.ids.tolist() == ["photo000", "photo001"] and found.y_true is None
    assert found.extras["unreadable"].tolist() == ["broken"] and "broken is left out" in caplog.text
    assert len(events) == 6


def test_what_cannot_be_used_is_refused(tiny_run, tmp_path):
    with pytest.raises(ValueError, match=r"holds no manifest\.json"):
        predict(tmp_path, tmp_path, device="cpu")
    with pytest.raises(ValueError, match="must hold at least one"):
        (tmp_path / "empty").mkdir()
        predict(tiny_run, tmp_path / "empty", device="cpu")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.jpg").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="none of them readable"):
        predict(tiny_run, tmp_path / "bad", device="cpu")


def test_unfinished_and_damaged_runs_are_refused(tiny_run, tiny_photos, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    weights = run / "members" / "whole" / "fold0" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(ValueError, match=r"weights\.safetensors is missing or damaged"):
        predict(run, tiny_photos.root, device="cpu")
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "finished": False}))
    with pytest.raises(ValueError, match="run must be finished"):
        predict(run, tiny_photos.root, device="cpu")
