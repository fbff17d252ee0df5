"""
When a plain mean wins
======================

Twenty members that are all equally good, each with errors of its own that were drawn on their logits: the mean of the
logits (``geometric``) is then the right answer, and whatever learns weights can only come near it. Learning pays where
members differ, and where there are rows to learn the difference from.
"""

import matplotlib.pyplot as plt

import labelstack as ls
from stacking.testing import make_predictions

scores = make_predictions(20, 3000, 20, frequency=0.1, noise=6.0, random_state=0)
new = scores.subset(samples=slice(1000, None))
sizes = [50, 200, 800]

fig, ax = plt.subplots()
for method in ("geometric", "mean", "logistic", "lightgbm", "auto"):
    found = [ls.fit(scores.subset(samples=slice(size)), method) for size in sizes]
    ax.plot(sizes, [ls.micro_f1(new.y_true, ensemble.predict(new)) for ensemble in found], marker="o", label=method)
ax.set_xscale("log")
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.set_xlabel("rows to fit on")
ax.set_ylabel("micro-F1 on 2,000 new rows")
ax.legend()

# %%
# ``auto`` chooses by scores on these few rows, so it cannot know that the members are alike; it stays near the best
# of what it races. Next: :ref:`what an interval covers <sphx_glr_gallery_plot_intervals.py>`.
