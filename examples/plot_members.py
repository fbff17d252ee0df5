"""
What each member knows
======================

Three models score the same garments. Each sees some labels clearly and others dimly, which is why it pays to combine
them. The picture shows the F1 of every member on every label: 1 is perfect.
"""

import matplotlib.pyplot as plt
import numpy as np

import labelstack as ls
from stacking.metrics import f1_per_label

scores = ls.example_scores(1000)  # 3 models × 1,000 garments × 22 labels, with the truth
f1 = np.array([f1_per_label(scores.y_true, scores.model_scores(model) >= 0.5) for model in scores.models])

fig, ax = plt.subplots(figsize=(7, 6))
image = ax.imshow(f1.T, vmin=0, vmax=1, cmap="viridis", aspect="auto")
ax.set_xticks(range(scores.n_models), scores.models)
ax.set_yticks(range(scores.n_labels), scores.labels)
for row, column in np.ndindex(f1.shape):
    ax.text(
        row,
        column,
        f"{f1[row, column]:.2f}",
        ha="center",
        va="center",
        color="white" if f1[row, column] < 0.6 else "black",
    )
fig.colorbar(image, label="F1 at a threshold of .5")
ax.set_title("No member is best everywhere")

# %%
# ``shape`` knows sleeves and necklines, ``texture`` patterns, ``overall`` the gender. Next: :ref:`what combining them
# brings <sphx_glr_gallery_plot_compare.py>`.
