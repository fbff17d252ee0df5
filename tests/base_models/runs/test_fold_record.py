"""What a fold leaves on disk reads back, in the words of this version and of earlier ones."""

import json

from base_models.runs.fold_record import FILE, FoldRecord


def test_a_record_reads_back_and_one_of_version_0_1_reads_alike(tmp_path):
    record = FoldRecord(
        member="m",
        network="test_resnet",
        size=32,
        labels=("a", "b"),
        normalization={"mean": [0.5], "std": [0.2]},
        files={},
        label_epochs=(1, 2),
        figures={"seconds": 1.0},
    )
    record.write(tmp_path)
    assert FoldRecord.read(tmp_path) == record
    stored = json.loads((tmp_path / FILE).read_text())
    stored["normalisation"] = stored.pop("normalization")
    (tmp_path / FILE).write_text(json.dumps(stored))
    assert FoldRecord.read(tmp_path) == record
