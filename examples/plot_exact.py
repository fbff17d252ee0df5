"""
Exact thresholds, and what they are worth on new rows
=====================================================

The thresholds with the best micro-F1 can be found exactly (``exact-micro-f1``: for a fixed ratio of hits to mistakes
every label is on its own, and a few rounds find the best ratio). The usual search, ``cyclic``, goes round the labels
until no single change helps. Best on the rows that were tuned on is not best on others, though.
"""

import matplotlib.pyplot as plt

import labelstack as ls

scores = ls.example_scores(6000)
y_true, y_score = scores.y_true, ls.SoftVoting().fit(scores).predict_proba(scores)
new = slice(3000, None)  # rows on which nothing is tuned
sizes = [50, 100, 200, 400, 800, 1600, 3000]

fig, ax = plt.subplots()
for rule, style in (("single", "-"), ("cross-validated", "-"), ("exact-micro-f1", "-"), ("cyclic", "x")):
    tuned = [ls.tune_thresholds(y_score[:size], y_true[:size], rule=rule) for size in sizes]
    ax.plot(sizes, [ls.micro_f1(y_true[new], y_score[new] >= found) for found in tuned], style, label=rule)
    if rule == "exact-micro-f1":
        own = [ls.micro_f1(y_true[:n], y_score[:n] >= found) for n, found in zip(sizes, tuned, strict=True)]
        ax.plot(sizes, own, ":", color=ax.lines[-1].get_color(), label="exact, on the rows tuned on")
ax.set_xscale("log")
ax.set_xticks(sizes, sizes)
ax.minorticks_off()
ax.set_xlabel("rows to tune on")
ax.set_ylabel("micro-F1 on 3,000 other rows")
ax.legend()

# %%
# ``cyclic`` finds what the exact search finds here; only the exact one promises it. Next: :ref:`what labels know of
# each other <sphx_glr_gallery_plot_label_context.py>`.
