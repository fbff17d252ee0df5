"""
When a member is missing
========================

A model's server is down, or it has become too expensive. An ensemble that was fitted with it can predict
``without`` it. What does that cost, beside an ensemble that never knew it?
"""

import matplotlib.pyplot as plt
import numpy as np

import labelstack as ls

scores = ls.example_scores(1500)
fitting, new = scores.subset(samples=slice(500)), scores.subset(samples=slice(500, None))
ensemble = ls.fit(fitting, "logistic")
whole = ls.micro_f1(new.y_true, ensemble.predict(new))

without, anew = [], []
for missing in scores.models:
    others = [model for model in scores.models if model != missing]
    without.append(ls.micro_f1(new.y_true, ensemble.predict(new.subset(models=others), without=[missing])))
    fresh = ls.fit(fitting.subset(models=others), "logistic")
    anew.append(ls.micro_f1(new.y_true, fresh.predict(new.subset(models=others))))

fig, ax = plt.subplots()
place = np.arange(len(scores.models))
ax.bar(place - 0.2, without, 0.4, label="predicted without it")
ax.bar(place + 0.2, anew, 0.4, label="fitted anew without it")
ax.axhline(whole, color="black", linestyle="--", label="all members")
ax.set_xticks(place, [f"without {model}" for model in scores.models])
ax.set_ylabel("micro-F1 on new garments")
ax.set_ylim(0.5, 1.05)
ax.legend(loc="upper left", ncols=2)

# %%
# Next: :ref:`rows that belong together <sphx_glr_gallery_plot_groups.py>`.
