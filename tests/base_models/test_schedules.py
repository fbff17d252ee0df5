"""Learning rates against torch's own schedulers."""

import numpy as np
import pytest

from base_models.schedules import learning_rate_factor

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
