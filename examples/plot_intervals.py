"""
Why differences have intervals of their own
===========================================

Two methods that are scored on the same rows rise and fall together: a row that is hard for one is hard for the other.
So their intervals may overlap although one is surely better. What tells is the interval of the *difference*, on the
same resampled rows.
"""

import matplotlib.pyplot as plt

import labelstack as ls

scores = ls.example_scores(400)
comparison = ls.compare(scores, ["mean", "convex", "logistic", "label-context"], n_splits=3, progress=None)
rows = comparison.table.set_index("method").loc[["convex", "logistic", "label-context"]]

fig, (left, right) = plt.subplots(1, 2, sharey=True, figsize=(8, 2.8))
for ax, value, title in ((left, "score", "micro-F1"), (right, "vs_mean", "difference to the mean")):
    low, high = (f"{value}_low", f"{value}_high") if value != "score" else ("low", "high")
    ax.errorbar(rows[value], rows.index, xerr=[rows[value] - rows[low], rows[high] - rows[value]], fmt="o", capsize=4)
    ax.set_xlabel(title)
left.axvspan(*comparison.table.set_index("method").loc["mean", ["low", "high"]], color="0.9", label="the mean")
left.legend()
right.axvline(0, color="black", linewidth=0.8)
fig.tight_layout()

# %%
# Next: :ref:`what another metric changes <sphx_glr_gallery_plot_metrics.py>`.
