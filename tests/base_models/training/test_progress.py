"""The estimate of the time left."""

import math

import pytest

from base_models.training import progress
from base_models.training.progress import TimeLeft, TrainingEvent


def test_members_not_started_cost_in_proportion(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    seen = []
    left = TimeLeft({("small", 0): 2.0, ("small", 1): 2.0, ("large", 0): 2.0}, {"small": 1.0, "large": 5.0})
    report = left.wrap(seen.append)
    assert math.isnan(left.seconds()) and left.wrap(None) is None
    clock[0] = 10.0
    report(TrainingEvent("epoch", "small", 0, 2, 1, 2))
    assert seen[-1].seconds_left == pytest.approx(3 * 10 + 2 * 50)
    clock[0] = 14.0
    report(TrainingEvent("fold", "small", 0, 2, n_epochs=2))  # stopped early: one epoch is no longer to do
    assert seen[-1].seconds_left == pytest.approx(2 * 10 + 2 * 50)
    clock[0] = 18.0
    report(TrainingEvent("epoch", "small", 1, 2, 1, 2))
    assert seen[-1].seconds_left == pytest.approx(1 * 4 + 2 * 20)


def test_folds_side_by_side_share_the_time(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    seen = []
    report = TimeLeft({("m", 0): 2.0, ("m", 1): 2.0}, {"m": 1.0}, n_side_by_side=2).wrap(seen.append)
    for fold in (1, 0):
        report(TrainingEvent("step", "m", fold, 2, 1, 2))
    clock[0] = 10.0
    report(TrainingEvent("epoch", "m", 1, 2, 1, 2))
    clock[0] = 11.0
    report(TrainingEvent("epoch", "m", 0, 2, 1, 2))
    assert seen[-1].seconds_left == pytest.approx(11)
    clock[0] = 20.0
    report(TrainingEvent("epoch", "m", 1, 2, 2, 2))
    assert seen[-1].seconds_left == pytest.approx(10)  # of the other fold, which nobody can help with
    report(TrainingEvent("step", "m", 0, 2, 2, 2, step=3, n_steps=4))
    assert seen[-1].seconds_left == pytest.approx(2.5)
    report(TrainingEvent("fold", "m", 1, 2, n_epochs=2))
    assert seen[-1].seconds_left == pytest.approx(2.5)
    report(TrainingEvent("fold", "m", 0, 2, n_epochs=2))  # it stopped early
    assert seen[-1].seconds_left == 0


def test_the_estimate_falls_within_an_epoch(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    seen = []
    report = TimeLeft({("m", 0): 3.0}, {"m": 1.0}).wrap(seen.append)
    report(TrainingEvent("epoch", "m", 0, 1, 0, 3))  # begins
    clock[0] = 10.0
    report(TrainingEvent("epoch", "m", 0, 1, 1, 3))
    left = []
    for step in (1, 2, 3, 4):
        clock[0] += 2.5
        report(TrainingEvent("step", "m", 0, 1, 2, 3, step=step, n_steps=4))
        left.append(seen[-1].seconds_left)
    assert left == sorted(left, reverse=True)
    assert left[-1] == pytest.approx(left[0] - 7.5)


def test_the_last_fold_of_an_odd_number_is_waited_for(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    seen = []
    report = TimeLeft({("m", fold): 2.0 for fold in range(5)}, {"m": 1.0}, n_side_by_side=2).wrap(seen.append)
    for fold in (0, 1):
        report(TrainingEvent("step", "m", fold, 5, 1, 2))
    clock[0] = 10.0
    for fold in (0, 1):
        report(TrainingEvent("epoch", "m", fold, 5, 1, 2))
    assert seen[-1].seconds_left == pytest.approx(10 + 20 + 20)  # not (2 · 1 + 3 · 2) / 2 epochs


def test_a_resumed_fold_says_itself_how_many_epochs_are_left(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock[0])
    seen = []
    report = TimeLeft({("m", 0): 5.0}, {"m": 1.0}).wrap(seen.append)
    clock[0] = 10.0
    report(TrainingEvent("epoch", "m", 0, 1, 4, 5))
    assert seen[-1].seconds_left == pytest.approx(10)
