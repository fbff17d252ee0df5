"""Are the models of one run better than those of another? Compared on the rows and labels that both have."""

import sys
from pathlib import Path

import numpy as np

import labelstack as ls
from stacking.testing import draw_scores

out = Path(sys.argv[1] if len(sys.argv) > 1 else "two-runs")
rng = np.random.default_rng(0)
y_true = (rng.random((900, 12)) < 0.3).astype(np.uint8)
ids, labels = [f"photo{row}" for row in range(900)], [f"label{column}" for column in range(12)]
for name, noise, rows in (("monday", 1.6, slice(0, 880)), ("tuesday", 1.3, slice(20, 900))):
    y_scores = draw_scores(y_true, [noise, noise + 0.2], rng, signal=2.0)[:, rows]
    run = ls.PredictionSet(y_scores, ids[rows], ["resnet", "vit"], labels, y_true=y_true[rows])
    ls.save_predictions(run, out / f"{name}.npz")

sets = {name: ls.load(out / f"{name}.npz") for name in ("monday", "tuesday")}
found = ls.compare(sets, ["mean", "greedy"], rules=["half"], progress=None)
print(found.table[["method", "score", "low", "high"]])
print(found.difference("tuesday/resnet", "monday/resnet"))
# Next: pack --add joins both runs, docs/predictions.md tells how to fit what they gain together.
