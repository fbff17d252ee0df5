"""
You get what you ask for
========================

Micro-F1 counts labels as often as they occur; macro-F1 counts every label alike; samples-F1 counts every garment alike.
An ensemble that is fitted for one is not the best for another. Each row is what was asked for, each column what was
scored, on garments that no fit has seen.
"""

import matplotlib.pyplot as plt
import numpy as np

import labelstack as ls
from stacking.metrics import find_metric

metrics = ["micro-f1", "macro-f1", "samples-f1", "cost:fp=1,fn=5"]
scores = ls.example_scores(2000)
fitting, new = scores.subset(samples=slice(500)), scores.subset(samples=slice(500, None))
found = np.empty((len(metrics), len(metrics)))
for row, asked in enumerate(metrics):
    decided = ls.fit(fitting, "mean", metric=asked).predict(new)
    found[row] = [find_metric(scored)(new.y_true, y_pred=decided) for scored in metrics]

fig, ax = plt.subplots(figsize=(6, 4))
share = (found - found.min(axis=0)) / np.ptp(found, axis=0)
ax.imshow(np.where([name.startswith("cost") for name in metrics], 1 - share, share), cmap="Blues", vmax=1.4)
for row, column in np.ndindex(found.shape):
    ax.text(column, row, f"{found[row, column]:.3f}", ha="center", va="center")
ax.set_xticks(range(len(metrics)), metrics, rotation=20)
ax.set_yticks(range(len(metrics)), [f"for {name}" for name in metrics])

# %%
# Dark is good; a cost is better when it is lower. What was asked for is best in its column, save micro-F1 here: the
# rule for samples-F1 may give each garment its own number of labels, which serves both. Next: :ref:`a member that is
# missing <sphx_glr_gallery_plot_missing.py>`.
