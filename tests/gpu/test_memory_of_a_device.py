"""Memory that runs out, wherever it does: the batch is cut, the step is the same, and it is said aloud."""

import logging

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.device import is_out_of_memory  # noqa: E402
from base_models.networks.network import create_network  # noqa: E402
from base_models.precomputed.extraction import compute_features  # noqa: E402
from base_models.precomputed.head_network import BodyNetwork  # noqa: E402
from base_models.training import epoch as epochs  # noqa: E402
from base_models.training import scoring  # noqa: E402
from base_models.training.learner import create_learner  # noqa: E402

FULL = "CUDA out of memory. Tried to allocate 2.00 GiB"


def train(task, device, limit=None):
    """Train an epoch; return the learner, its row, and the weights."""
    torch.manual_seed(0)
    network = create_network(task.member, np.full(6, 0.3)).to(device).to(memory_format=torch.channels_last)
    learner = create_learner(task, network, "float32", device)
    row = epochs.train_epoch(learner, task, 0)
    return learner, row, torch.cat([p.detach().flatten().cpu() for p in network.parameters()])


def fail_above(monkeypatch, module, name, limit, size_of):
    """Let a function run out of memory on more than so many photos."""
    real = getattr(module, name)

    def short(*args, **kwargs):
        if size_of(*args) > limit:
            raise torch.OutOfMemoryError(FULL)
        return real(*args, **kwargs)

    monkeypatch.setattr(module, name, short)


@pytest.mark.parametrize("where", ["copy", "augmentation", "forward", "first-step"])
@pytest.mark.parametrize("mixup", [0.0, 0.4])
def test_a_batch_is_cut_wherever_memory_runs_out(device, where, mixup, make_task, monkeypatch, caplog):
    # a network without batch normalization, whose step does not depend on the parts
    task = make_task("test_convnext", batch_size=15, n_rows=30, augmentation="light", mixup=mixup, clip_norm=0.0)
    whole = train(task, device)
    n_parts = []
    with monkeypatch.context() as patch, caplog.at_level(logging.WARNING):
        if where == "copy":
            fail_above(patch, epochs, "send_photos", 8, lambda photos, _: len(photos))
        elif where == "augmentation":
            fail_above(patch, epochs, "augment_photos", 8, lambda photos, *_: len(photos))
        elif where == "forward":
            fail_above(patch, epochs, "compute_logits", 8, lambda _, photos, *__: len(photos))
        else:

            def claim(optimizer):
                n_parts.append(1)
                if len(n_parts) == 1:
                    raise RuntimeError("CUDA error: out of memory")
                real(optimizer)

            real = epochs.claim_state
            patch.setattr(epochs, "claim_state", claim)
        learner, row, weights = train(task, device)
    assert learner.n_parts == row["batch_parts"] == 2 and whole[0].n_parts == 1
    assert "goes through in 2 parts" in caplog.text
    assert row["loss"] == pytest.approx(whole[1]["loss"], rel=1e-4)
    # AdamW turns the rounding of tiny gradients into steps of the rate's size
    assert (weights - whole[2]).abs().mean() < 0.1 * task.member.training.learning_rate


def test_parts_keep_the_pairs_of_mixing_together():
    for n_rows in range(4, 20):
        for n_parts in range(1, n_rows // 2 + 1):
            pixels = torch.zeros(n_rows, 1)
            batch = epochs._Batch(np.arange(n_rows), pixels, pixels, None, 0.5)
            parts = batch.parts(n_parts)
            assert sorted(np.concatenate(parts).tolist()) == list(range(n_rows))
            for part in parts:
                assert len(part) >= 2
                assert (part + part[::-1] == n_rows - 1).all()


def test_other_errors_are_not_taken_for_full_memory(make_task, monkeypatch):
    def wrong(*_, **__):
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(epochs, "augment_photos", wrong)
    with pytest.raises(RuntimeError, match="shapes do not fit"):
        train(make_task(), "cpu")
    assert is_out_of_memory(torch.OutOfMemoryError("")) and is_out_of_memory(RuntimeError(FULL))
    assert is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"))
    assert not is_out_of_memory(RuntimeError("cuDNN error: CUDNN_STATUS_BAD_PARAM")) and not is_out_of_memory(
        MemoryError("out of memory")
    )


@pytest.mark.parametrize("message", [None, "cuDNN error: CUDNN_STATUS_ALLOC_FAILED"])
def test_scoring_and_features_go_on_in_smaller_parts(device, message, make_task, monkeypatch, error_of):
    task = make_task("test_resnet")
    network = create_network(task.member, np.full(6, 0.3)).to(device).eval()
    rows = np.arange(48)
    whole = scoring.score_photos(network, task.photos, rows, device=device)
    error = torch.OutOfMemoryError(FULL) if message is None else RuntimeError(message)
    real, seen = scoring.compute_logits, []

    def short(body, photos, precision):
        if len(photos) > 10:
            raise error
        seen.append(len(photos))
        return real(body, photos, precision)

    monkeypatch.setattr(scoring, "compute_logits", short)
    parts = scoring.score_photos(network, task.photos, rows, device=device)
    assert max(seen) <= 10 and error_of("scores", parts, whole) < 1e-4
    body = BodyNetwork(network)
    pixels = next(iter(task.photos.iter_batches([rows])))[1]
    features = compute_features(body, pixels)
    from base_models.precomputed import extraction

    monkeypatch.setattr(extraction, "compute_logits", short)
    assert error_of("features", compute_features(body, pixels), features) < 1e-4


@pytest.mark.gpu
@pytest.mark.parametrize("device", ["cuda"], indirect=True)
def test_a_card_that_is_really_full_trains_and_scores_in_parts(device, make_task, record_property):
    task = make_task("resnet50", size=224, batch_size=48, augmentation="light")
    total = torch.cuda.get_device_properties(0).total_memory
    train(task, device)  # cuDNN tries its algorithms here, some with gigabytes of their own
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    train(task, device)
    peak = torch.cuda.max_memory_allocated()  # of the step itself
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.6 * peak / total)
    learner, row, _ = train(task, device)
    record_property("batch_parts", learner.n_parts)
    assert learner.n_parts > 1 and np.isfinite(row["loss"])
    scores = scoring.score_photos(learner.network, task.photos, np.resize(np.arange(64), 2048), device=device)
    torch.cuda.set_per_process_memory_fraction(1.0)
    again = scoring.score_photos(learner.network, task.photos, np.arange(64), device=device)
    np.testing.assert_allclose(scores[:64], again, atol=1e-4)
