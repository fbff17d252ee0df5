"""Learning rates against torch's own schedulers."""

import numpy as np
import pytest

from base_models.training.schedules import learning_rate_factor, plateau_reduction

torch = pytest.importorskip("torch")


def test_one_cycle_follows_torch():
    n_steps = 400
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    # torch ends both legs one step earlier; with this share both have the peak at step 100
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1.0, total_steps=n_steps, pct_start=101 / 400)
    theirs = []
    for _ in range(n_steps):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if len(theirs) < n_steps:
            scheduler.step()
    ours = [learning_rate_factor(step, n_steps, warmup=0.25) for step in range(n_steps)]
    assert np.argmax(ours) == np.argmax(theirs) == 100
    np.testing.assert_allclose(ours, theirs, atol=0.004)


def test_cosine_restarts_follow_torch():
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 4, T_mult=2, eta_min=1e-4)
    theirs = []
    for _ in range(20):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    ours = [learning_rate_factor(s, 20, "cosine", warmup=0.0, first_cycle=4, cycle_factor=2) for s in range(20)]
    np.testing.assert_allclose(ours, theirs, atol=1e-9)


def test_constant_rises_then_stays():
    rates = [learning_rate_factor(step, 10, "constant", warmup=0.4) for step in range(10)]
    assert rates[:4] == sorted(rates[:4]) and rates[0] > 0
    assert rates[4:] == [1.0] * 6


def test_an_unknown_schedule_is_refused():
    with pytest.raises(ValueError, match="schedule must be one of"):
        learning_rate_factor(5, 10, "step", warmup=0.0)


def test_plateau_reduces_as_torch_does(rng):
    for patience, factor in ((0, 0.5), (1, 0.1), (3, 0.3)):
        scores = rng.integers(0, 6, 40) / 5
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, "max", factor=factor, patience=patience, threshold=0.0, eps=0.0
        )
        for n_epochs, score in enumerate(scores, start=1):
            scheduler.step(score)
            ours = plateau_reduction(scores[:n_epochs].tolist(), patience, factor)
            assert ours == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
    assert learning_rate_factor(90, 100, "plateau") == 1.0


def test_cycles_of_one_two_and_four_epochs_start_at_the_peak():
    rates = [learning_rate_factor(s, 70, "cosine", warmup=0.0, first_cycle=10, cycle_factor=2) for s in range(70)]
    assert [step for step, rate in enumerate(rates) if rate == 1.0] == [0, 10, 30]
    assert all(rates[step] < 0.03 for step in (9, 29, 69))
