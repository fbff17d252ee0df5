"""
Do scores mean what they say?
=============================

Of all cells with a score near .7, about seven in ten should be true. Members that were trained elsewhere are often too
sure or too shy, and their mean inherits it; ``logistic`` learns from the truth how much a score is worth.
"""

import matplotlib.pyplot as plt
from sklearn.calibration import calibration_curve

import labelstack as ls

scores = ls.example_scores(2000)
fitting, new = scores.subset(samples=slice(800)), scores.subset(samples=slice(800, None))
curves = {model: new.model_scores(model) for model in new.models}
for method in ("mean", "logistic"):
    curves[method] = ls.fit(fitting, method).predict_proba(new)

fig, ax = plt.subplots(figsize=(5.5, 5))
for name, y_score in curves.items():
    share, score = calibration_curve(new.y_true.ravel(), y_score.ravel(), n_bins=10)
    ax.plot(score, share, marker="o", linewidth=2.5 if name == "logistic" else 1, label=name)
ax.plot([0, 1], [0, 1], color="black", linestyle=":")
ax.set_xlabel("score")
ax.set_ylabel("share of those cells that are true")
ax.legend()

# %%
# Next: :ref:`what each member knows <sphx_glr_gallery_plot_members.py>`, or the tutorials.
