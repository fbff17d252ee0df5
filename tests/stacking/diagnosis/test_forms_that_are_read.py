"""A check takes scores in every form in which a fit takes them, and says the same of each."""

import numpy as np
import pandas as pd
import pytest

from stacking import PredictionSet
from stacking.diagnosis import check_predictions
from stacking.predictions import save_predictions


@pytest.fixture
def tables(tmp_path, honest):
    """Two members on disk, the second ten times too large, and the truth; as frames, too."""
    y_scores, y_true = honest(0, n_samples=80, n_labels=3)
    frames = {
        name: pd.DataFrame(scores.astype(float), index=[f"s{row}" for row in range(80)], columns=list("xyz"))
        for name, scores in (("cnn", y_scores[0]), ("vit", 10 * y_scores[1]))
    }
    for name, frame in frames.items():
        frame.to_csv(tmp_path / f"{name}.csv", index_label="id")
    return frames, y_true


def faults(*given, **options):
    report = check_predictions(*given, **options)
    return [(finding.member, finding.check) for finding in report.of_severity("red")]


SPELLINGS = {
    "list of str": lambda frames, place: [str(place / f"{name}.csv") for name in frames],
    "tuple of str": lambda frames, place: tuple(str(place / f"{name}.csv") for name in frames),
    "list of paths": lambda frames, place: [place / f"{name}.csv" for name in frames],
    "list of pairs of str": lambda frames, place: [(name, str(place / f"{name}.csv")) for name in frames],
    "list of pairs with frames": lambda frames, place: list(frames.items()),
    "mapping of str": lambda frames, place: {name: str(place / f"{name}.csv") for name in frames},
    "mapping of frames": lambda frames, place: frames,
}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_spelling_of_the_members(spelling, tables, tmp_path):
    frames, y_true = tables
    assert faults(SPELLINGS[spelling](frames, tmp_path), y_true) == [("vit", "scale")]


def test_frames_in_a_list_are_counted(tables):
    frames, y_true = tables
    assert faults(list(frames.values()), y_true) == [("model1", "scale")]
    assert faults([frame.to_numpy() for frame in frames.values()], y_true) == [("model1", "scale")]


@pytest.mark.parametrize("as_text", [False, True])
def test_one_table_alone_is_called_by_its_file(tables, tmp_path, as_text):
    path = tmp_path / "vit.csv"
    assert faults(str(path) if as_text else path, tables[1]) == [("vit", "scale")]


@pytest.mark.parametrize("suffix", [".h5", ".hdf5"])
def test_hdf5_is_read(tables, tmp_path, suffix):
    h5py = pytest.importorskip("h5py")
    frames, y_true = tables
    ids, labels = list(frames["cnn"].index), list("xyz")
    with h5py.File(tmp_path / f"matrix{suffix}", "w") as file:
        file["scores"], file["ids"], file["labels"] = frames["vit"].to_numpy(), ids, labels
    with h5py.File(tmp_path / f"bare{suffix}", "w") as file:
        file["scores"] = frames["vit"].to_numpy()
    with h5py.File(tmp_path / f"bundle{suffix}", "w") as file:
        file["y_scores"] = np.stack([frame.to_numpy() for frame in frames.values()])
        file["ids"], file["labels"], file["models"], file["y_true"] = ids, labels, list(frames), y_true
    assert faults([tmp_path / "cnn.csv", tmp_path / f"matrix{suffix}"], y_true) == [("matrix", "scale")]
    assert faults({"a": tmp_path / f"bare{suffix}"}, y_true, ids=ids, labels=labels) == [("a", "scale")]
    assert faults(str(tmp_path / f"bundle{suffix}")) == [("vit", "scale")]
    report = check_predictions(tmp_path / f"bare{suffix}", y_true)
    assert "give those of its rows and columns" in report.of_severity("red")[0].message
    short = check_predictions(tmp_path / f"bare{suffix}", y_true, ids=ids[:9], labels=labels)
    assert "must have 9 rows and 3 columns" in short.of_severity("red")[0].message


def test_stores_and_bundles_beside_tables(honest, tmp_path):
    y_scores, y_true = honest(0, n_samples=80, n_labels=3)
    found = PredictionSet(y_scores[:1], [f"s{row}" for row in range(80)], ["a"], list("xyz"), y_true=y_true)
    (save_predictions(found, tmp_path / "a.npz"), save_predictions(found, tmp_path / "store"))
    assert faults([str(tmp_path / "a.npz")], y_true) == faults([str(tmp_path / "store")], y_true) == []
