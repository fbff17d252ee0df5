"""
Where the gain comes from
=========================

Between the best member and the ensemble lie several steps: to correct the best member's own scores, to mix the members,
to use that labels go together, and to choose thresholds. The chart says what each step brings, on rows that had no part
in the fit.
"""

import labelstack as ls

scores = ls.example_scores(600)
comparison = ls.compare(scores, ["mean", "logistic", "label-context"], n_splits=3, progress=None)
comparison.plot("gain")

# %%
# Here mixing brings most, because every member sees labels that the others do not. With members that all know the
# same, a plain mean is hard to beat. Next: :ref:`when it wins <sphx_glr_gallery_plot_mean.py>`.
