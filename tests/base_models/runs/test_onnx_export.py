"""Networks of a run as ONNX graphs: the probabilities of the run, from the pixels on."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxscript", reason="onnxscript is not installed")

from base_models.manifest import load_manifest  # noqa: E402
from base_models.photos.tensors import PhotoTensors  # noqa: E402
from base_models.runs import onnx_export  # noqa: E402
from base_models.runs.inference import load_member  # noqa: E402
from base_models.training.scoring import score_photos  # noqa: E402
from stacking.files.atomic_files import OutputRefusedError  # noqa: E402


def test_a_graph_scores_photos_as_the_network_does(tiny_run, tiny_photos):
    runtime = pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    member = load_member(tiny_run, "frequent")
    manifest = load_manifest(tiny_photos, Path())
    photos = PhotoTensors(manifest, manifest.split_rows("test"), member.record.size)
    rows = np.arange(len(photos))
    expected = score_photos(member.networks[0], photos, rows, flip=member.record.flip_tta)
    pixels = next(iter(photos.iter_batches([rows])))[1].numpy()
    data = onnx_export.trace(member.networks[0], member.record, {"member": "frequent", "labels": list(member.labels)})
    session = runtime.InferenceSession(data, providers=["CPUExecutionProvider"])
    assert pixels.dtype == np.uint8
    for n_photos in (len(pixels), 1):
        found = session.run(["probabilities"], {"photos": pixels[:n_photos]})[0]
        np.testing.assert_allclose(found, expected[:n_photos], atol=1e-5)
    assert json.loads(session.get_modelmeta().custom_metadata_map["labels"]) == list(member.labels)
    # the network itself is as it was: nothing of the trace has stayed behind
    np.testing.assert_array_equal(score_photos(member.networks[0], photos, rows, flip=member.record.flip_tta), expected)


@pytest.fixture
def quick(monkeypatch):
    """What is written does not matter to the folder."""
    monkeypatch.setattr(onnx_export, "trace", lambda network, record, facts: json.dumps(facts).encode())


def test_a_run_gives_one_graph_per_network_and_says_how_they_belong_together(tiny_run, tmp_path, quick):
    events = []
    assert onnx_export.export_run(tiny_run, tmp_path / "e", progress=events.append)
    found = json.loads((tmp_path / "e" / "manifest.json").read_text())
    assert [(entry["member"], len(entry["files"]), entry["size"]) for entry in found["members"]] == [
        ("whole", 2, 32), ("frequent", 2, 32), ("rare", 2, 32),
    ]  # fmt: skip
    assert found["opset"] == onnx_export.OPSET and found["derived"][0]["name"] == "pair" and len(events) == 6
    graphs = {path.name for path in (tmp_path / "e").glob("*.onnx")}
    assert graphs == {name for entry in found["members"] for name in entry["files"]}
    text = (tmp_path / "e" / "README.md").read_text()
    assert "mean of the probabilities" in text and "`pair` is, label by label, the mean of frequent and rare" in text
    assert not onnx_export.export_run(tiny_run, tmp_path / "e")


def test_folders_of_others_and_runs_that_are_none_are_refused(tiny_run, tmp_path, quick):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.onnx").write_text("mine")
    with pytest.raises(OutputRefusedError, match="must be empty"):
        onnx_export.export_run(tiny_run, tmp_path / "mine", overwrite=True)
    with pytest.raises(ValueError, match=r"holds no manifest\.json"):
        onnx_export.export_run(tmp_path, tmp_path / "e")


def test_a_network_that_torch_cannot_write_is_named(tiny_run, monkeypatch):
    def fails(*arguments, **options):
        colored = "This is \x1b[96mstep 3/3\x1b[0m.\nNext steps"
        raise ValueError(colored) from RuntimeError("no such \x1b[1moperation\x1b[0m.\nand much more")

    member = load_member(tiny_run, "rare")
    monkeypatch.setattr(torch.onnx, "export", fails)
    with pytest.raises(
        ValueError,
        match=r"'rare' cannot be exported: .*'test_resnet' with the head 'linear' into ONNX \(no such operation\)\.$",
    ):
        onnx_export.trace(member.networks[0], member.record, {})
    monkeypatch.setattr(member.networks[0], "takes_photos", False)
    with pytest.raises(ValueError, match="must be shown photos to be exported"):
        onnx_export.trace(member.networks[0], member.record, {})
