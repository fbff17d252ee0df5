"""Which search finds the better weights of a vote, and what does it cost? Scored on rows that chose nothing."""

import sys

import numpy as np

import labelstack as ls
from stacking.testing import draw_scores

n_rows, n_seeds = (int(text) for text in (sys.argv[1:3] or ("3000", "5")))
rng = np.random.default_rng(0)
y_true = (rng.random((n_rows, 20)) < np.linspace(0.4, 0.03, 20)).astype(np.uint8)
y_scores = draw_scores(y_true, [1.0, 1.2, 1.4, 1.8], rng, signal=2.0)
scores = ls.PredictionSet(y_scores, y_true=y_true, groups=np.arange(n_rows) // 3)
fitting, held_back = ls.split(scores, 0.7)  # no group is in both

study = ls.study_weights(fitting, ["greedy", "hill-climbing", "pso:n_iterations=50"], holdout=held_back, seeds=n_seeds)
for row in study.rows:
    print(f"{row.optimizer}: {row.score:.4f}, {row.gain:+.4f} [{row.gain_low:+.4f}, {row.gain_high:+.4f}] to the mean")
study.plot().savefig("weight-study.png")
# Next: labelstack optimize writes such a study as a report; docs/predictions.md.
