"""
Rows that belong together
=========================

Ten photos of one garment are not ten garments. Where a method may learn from nine of them and is scored on the tenth,
it looks better than it is; ``groups`` keep them in one fold. Here each of 60 garments has ten rows with the same truth,
and its members err on all ten in the same way.
"""

import matplotlib.pyplot as plt
import numpy as np

import labelstack as ls
from stacking.testing import make_predictions

rng = np.random.default_rng(0)
drawn = make_predictions(4, 1060, 10, frequency=0.2, noise=6.0, random_state=0)
garment = np.repeat(np.arange(60), 10)
jitter = rng.normal(0, 0.01, (4, 600, 10))
y_scores = np.clip(drawn.to_array()[:, garment] + jitter, 0, 1)
new = drawn.subset(samples=slice(60, None))  # 1,000 other garments, a row each

found = {}
for name, groups in (("every row alone", None), ("garments as groups", garment)):
    scores = ls.PredictionSet(y_scores, y_true=drawn.y_true[garment], groups=groups)
    comparison = ls.compare(scores, ["lightgbm"], n_splits=3, progress=None)
    found[name] = float(comparison.table.set_index("method").loc["lightgbm", "score"])
found["1,000 new garments"] = ls.micro_f1(new.y_true, ls.fit(scores, "lightgbm").predict(new.to_array()))

fig, ax = plt.subplots(figsize=(7, 2.6))
bars = ax.barh(list(found), list(found.values()), color=["tab:gray", "tab:blue", "black"])
ax.bar_label(bars, fmt="%.3f", padding=3)
ax.set_xlabel("micro-F1 of lightgbm, estimated and true")

# %%
# Next: :ref:`whether scores mean what they say <sphx_glr_gallery_plot_reliability.py>`.
