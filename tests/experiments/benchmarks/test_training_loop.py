"""The training rows: both loops really train, and absent packages are named."""

import importlib.util
import json

import numpy as np
import pytest

from experiments.benchmarks import training_loop
from experiments.benchmarks.processes import Plan


def test_absent_packages_are_named_and_nothing_is_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    rows = training_loop.measure_training(Plan(tmp_path, None))
    assert len(rows) == len(training_loop.NETWORKS) * len(training_loop.SIZES) * len(training_loop.CASES)
    assert {row.trouble for row in rows} == {
        "not measured: torch and timm absent; pip install 'labelstack[train]'",
    }
    assert all(row.verdicts() == [row.trouble] for row in rows)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("in_memory", [True, False])
def test_both_loops_see_the_same_photos_and_take_turns(tmp_path, in_memory, monkeypatch):
    pytest.importorskip("timm")
    import timm
    import torch

    from experiments.fashionblocks.synthesis import synthesize

    folder = synthesize(tmp_path / "blocks", n_train=8, n_validation=0, n_test=0, size=48)
    monkeypatch.setattr(training_loop, "BATCH_SIZE", 8)
    seen = []
    real = timm.create_model

    def watched(*args, **kwargs):
        net = real(*args, **kwargs)
        theirs = bool(kwargs.get("num_classes"))

        def note(_net, given):
            if net.training:
                seen.append((theirs, given[0].detach().clone()))

        net.register_forward_pre_hook(note)
        return net

    monkeypatch.setattr(timm, "create_model", watched)
    job = training_loop.both_loops(str(folder), "test_resnet", 48, 2, 2, in_memory, 0)
    values = job.describe(job.run())
    assert values["ours"]["images_ratio"] > 0 and values["ours"]["cpu_ratio"] > 0
    assert values["timm"]["images_per_second"] > 0
    shown = {who: [photos for theirs, photos in seen if theirs == who] for who in (True, False)}
    assert len(shown[True]) == len(shown[False]) == 3 * 2
    assert [theirs for theirs, _ in seen][::2] == [False, True, True, False, False, True]
    # mirrored or not, a photo's mean is the same: both loops show the same photos, normalized alike
    means = [np.sort(torch.cat(shown[who]).mean(dim=(1, 2, 3)).numpy()) for who in (True, False)]
    np.testing.assert_allclose(means[0], means[1], atol=0.02)
    assert json.dumps(values)
