"""The benchmark of many labels measures blocks."""

import json

from experiments.benchmarks import many_labels
from stacking.combiners.meta_learners import label_blocks
from stacking.kernels.compiling import Kernel


def test_a_fit_in_blocks_is_measured(monkeypatch, capsys, tmp_path):
    for name, value in {"MOST_LABELS": 50, "BLOCK_LABELS": 20, "NEIGHBOR_LABELS": 5}.items():
        monkeypatch.setattr(label_blocks, name, value)
    monkeypatch.setattr(Kernel, "is_compiled_at_once", False)
    many_labels.main(["--labels", "60", "--rows", "300", "--models", "2", "--scratch", str(tmp_path)])
    found = json.loads(capsys.readouterr().out)
    assert (found["n_models"], found["n_rows"], found["n_labels"], found["n_blocks"]) == (2, 300, 60, 3)
    assert 0 < found["held_out_log_loss"] < 0.8 * found["log_loss_of_the_mean"]
    assert found["cpu_seconds"] > 0
    assert not list(tmp_path.iterdir())
