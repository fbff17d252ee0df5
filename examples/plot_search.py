"""
Four ways to search for weights
===============================

A weighted mean needs weights that are not negative and sum to 1. Micro-F1 at the best threshold has no gradient, so the
weights are searched for. The picture shows the best value after so many tried weights.
"""

import matplotlib.pyplot as plt
import numpy as np

import labelstack as ls
from stacking.testing import make_predictions

noise = np.linspace(1.2, 6, 12)[:, None] * np.random.default_rng(0).uniform(0.7, 1.4, (12, 30))  # good and bad members
scores = make_predictions(12, 2000, 30, frequency=0.1, noise=noise, random_state=0)

fig, ax = plt.subplots()
for optimizer in ("greedy", "hill-climbing", "pso", "random-search"):
    vote = ls.WeightedVoting(optimizer, random_state=0).fit(scores)
    tried, loss = np.array(vote.history_).T
    ax.plot(tried, 1 - loss, label=f"{optimizer}: {1 - vote.loss_:.4f}")
ax.set_xscale("log")
ax.set_xlabel("weights tried")
ax.set_ylabel("micro-F1 at the best threshold")
ax.legend(loc="lower right")

# %%
# These are values on the rows that were searched on, so they flatter every search alike; ``compare`` gives honest
# ones. Greedy selection adds one member at a time, and tries least. Next: :ref:`how thresholds are chosen
# <sphx_glr_gallery_plot_thresholds.py>`.
