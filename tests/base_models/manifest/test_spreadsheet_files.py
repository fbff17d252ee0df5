"""Files as spreadsheets save them, by every reader of tables: a first line ``sep=;``, byte order marks, UTF-16."""

import gzip

import numpy as np
import pytest
from PIL import Image

from base_models.ingest.annotation_files import read_photo_ids, write_kept
from base_models.ingest.options import IngestOptions
from base_models.manifest import load_manifest
from base_models.recipe.data import DataConfig
from stacking.predictions import load_predictions
from stacking.predictions.forms.name_lists import read_ids, read_label_list
from stacking.predictions.forms.truth import read_truth

SEPARATED = {
    "semicolons": ("sep=;\n", ";"),
    "commas, capitals, carriage returns": ("SEP=,\r\n", ","),
    "quoted": ('"sep=;"\n', ";"),
    "tabs": ("sep=\t\n", "\t"),
    "bars": ("sep=|\n", "|"),
    "nothing said": ("", ";"),
}
ENCODINGS = ("utf-8", "utf-8-sig", "utf-16")  # the last with its mark, as a spreadsheet's "Unicode text" has it
SCORES = [["id", "röt", "blau"], ["ä", "0.5", "0.25"], ["b", "1", "0"]]
TRUTH = [["id", "labels"], ["ä", "röt, blau"], ["b", "röt"]]
LABELS = [["labelId", "labelName"], ["7", "röt"], ["9", "blau"]]


@pytest.fixture(
    params=[(how, encoding, suffix) for how in SEPARATED for encoding in ENCODINGS for suffix in (".csv", ".csv.gz")],
    ids=str,
)
def write(request, tmp_path):
    how, encoding, suffix = request.param
    first, separator = SEPARATED[how]

    def put(name, rows):
        lines = [separator.join(f'"{cell}"' if "," in cell else cell for cell in row) for row in rows]
        data = (first + "\n".join(lines) + "\n").encode(encoding)
        path = tmp_path / f"{name}{suffix}"
        path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
        return path

    return put


def test_predictions_truth_and_lists(write):
    scores, truth, labels = write("scores", SCORES), write("truth", TRUTH), write("labels", LABELS)
    predictions = load_predictions(models=[scores], truth=truth, labels=labels)
    assert predictions.ids.tolist() == ["ä", "b"]
    assert list(predictions.labels) == ["röt", "blau"]
    np.testing.assert_array_equal(predictions.to_array()[0], np.float32([[0.5, 0.25], [1, 0]]))
    np.testing.assert_array_equal(predictions.y_true, [[1, 1], [1, 0]])
    assert read_ids(truth).tolist() == ["ä", "b"]
    assert read_label_list(labels).ids == ("7", "9")
    wide = write("wide", [["id", "röt", "blau"], ["ä", "1", "0"], ["b", "0", "1"]])
    np.testing.assert_array_equal(read_truth(wide, ids=predictions.ids, labels=predictions.labels).y_true, np.eye(2))


def test_photos_and_the_copy_of_an_ingest(write, tmp_path):
    for name in ("a", "b"):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{name}.png")
    truth, labels = write("truth", [["id", "labels"], ["a", "röt, blau"], ["b", "röt"]]), write("labels", LABELS)
    config = DataConfig("csv", ".", truth.name, labels=labels.name)
    manifest = load_manifest(config, tmp_path)
    np.testing.assert_array_equal(manifest.y_true, [[1, 1], [1, 0]])
    options = IngestOptions()
    assert read_photo_ids(truth, tmp_path, options)[0] == ["a", "b"]
    write_kept(truth, tmp_path, tmp_path / "kept.csv", {"a"}, options)
    kept = read_truth(tmp_path / "kept.csv", known=read_label_list(labels))
    assert kept.ids.tolist() == ["a"] and kept.y_true.tolist() == [[1, 1]]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_plain_lists(encoding, tmp_path):
    path = tmp_path / "ids.txt"
    path.write_bytes("ä\nb\n".encode(encoding))
    assert read_ids(path).tolist() == ["ä", "b"]
    assert list(read_label_list(path).names) == ["ä", "b"]


@pytest.mark.parametrize(
    "data", [b"\xff\xfea", b"\xff\xfe\x00\xd8a\x00", b"sep=;\n", b"sep=;", b"\xff\xfe", b"\xfe\xff"]
)
def test_what_is_cut_or_empty_is_one_sentence(data, tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    for read in (lambda: load_predictions(models=[path]), lambda: read_truth(path), lambda: read_label_list(path)):
        with pytest.raises(ValueError, match=r"t\.csv must (be|hold|have)"):
            read()


def test_a_wrong_cell_names_the_line_of_the_file(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("sep=;\nid;labels\na;x\nb;y;z\n")
    with pytest.raises(ValueError, match="line 4 has 3"):
        read_truth(path)
