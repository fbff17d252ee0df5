"""
What labels know of each other
==============================

A dress is hardly ever for men, and a hood goes with long sleeves. The method ``label-context`` learns such
dependencies from the truth; ``logistic`` looks at each label's own scores alone. The picture shows what that changes,
label by label, on garments that neither has seen.
"""

import matplotlib.pyplot as plt
import numpy as np

import labelstack as ls
from stacking.metrics import f1_per_label

scores = ls.example_scores(1600)
fitting, new = scores.subset(samples=slice(800)), scores.subset(samples=slice(800, None))
f1 = {
    method: f1_per_label(new.y_true, ls.fit(fitting, method).predict(new)) for method in ("logistic", "label-context")
}
gain = f1["label-context"] - f1["logistic"]

fig, ax = plt.subplots(figsize=(7, 5.5))
order = np.argsort(gain)
ax.barh(np.array(scores.labels)[order], gain[order], color=np.where(gain[order] > 0, "tab:blue", "tab:gray"))
ax.axvline(0, color="black", linewidth=0.8)
ax.set_xlabel("F1 of label-context less F1 of logistic")

# %%
# Next: :ref:`when learning does not help <sphx_glr_gallery_plot_mean.py>`.
