"""
Which way of combining is best
==============================

``compare`` scores every member and every method on rows that had no part in fitting it, choosing it or tuning it. The
bars are 95 % intervals: how far the score would move on other rows of the same kind.
"""

import labelstack as ls

scores = ls.example_scores(600)
comparison = ls.compare(scores, ["mean", "greedy", "convex", "logistic", "label-context"], n_splits=3, progress=None)
comparison.plot()

# %%
# The verdict says it in words:

print(comparison.verdict())

# %%
# All numbers are in a data frame:

comparison.table[["method", "kind", "score", "low", "high", "macro_f1"]].round(3)

# %%
# Next: :ref:`where the gain comes from <sphx_glr_gallery_plot_gain.py>`.
