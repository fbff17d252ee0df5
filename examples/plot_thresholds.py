"""
A threshold for every label
===========================

A label is given where its score reaches its threshold. For micro-F1 one threshold for all labels is often nearly as
good as a threshold per label, and easier to find; for macro-F1, where every label counts alike, rare labels need lower
ones.
"""

import matplotlib.pyplot as plt
import numpy as np

import labelstack as ls

scores = ls.example_scores(2000)
y_true, y_score = scores.y_true, ls.SoftVoting().fit(scores).predict_proba(scores)
frequency = y_true.mean(axis=0)

fig, ax = plt.subplots()
for rule, marker in (("single", "_"), ("exact-micro-f1", "o"), ("macro-f1", "x")):
    thresholds = ls.tune_thresholds(y_score, y_true, rule=rule)
    micro = ls.micro_f1(y_true, y_score >= thresholds)
    ax.scatter(frequency, np.minimum(thresholds, 1), marker=marker, label=f"{rule}: micro-F1 {micro:.3f}")
ax.set_xscale("log")
ax.set_xticks([0.02, 0.05, 0.1, 0.2, 0.5], ["2 %", "5 %", "10 %", "20 %", "50 %"])
ax.minorticks_off()
ax.set_xlabel("share of garments that have the label")
ax.set_ylabel("threshold")
ax.legend()

# %%
# The thresholds are tuned and scored on the same rows here: the plain mean, which learns nothing, allows the picture,
# but ``fit`` tunes on out-of-fold scores and keeps thresholds per label only where they hold up on other folds. Next:
# :ref:`the exact search beside the usual one <sphx_glr_gallery_plot_exact.py>`.
