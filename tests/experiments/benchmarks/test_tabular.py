"""The systems of the tabular part say the same things of their answers."""

import numpy as np
import pytest

from experiments.benchmarks.references import describe_held_out
from experiments.benchmarks.tabular import tabular_job


@pytest.mark.parametrize("system", ["plain mean", "sklearn StackingClassifier"])
def test_decisions_and_scores_are_described(rng, tmp_path, system):
    x = rng.normal(size=(120, 6))
    y = (x[:, :3] + 0.5 * rng.normal(size=(120, 3)) > 0).astype(np.uint8)
    np.savez(tmp_path / "set.npz", X=x, Y=y, split=np.array(["train"] * 80 + ["test"] * 40))
    job = tabular_job(str(tmp_path / "set.npz"), system, True)
    found = job.describe(job.run())
    assert set(found) == set(describe_held_out(y, y.astype(bool), y.astype(np.float32)))
    assert found["test_micro_f1"] > 0.7
    assert found["test_mean_average_precision"] > 0.8
    assert found["test_log_loss"] < 0.55
