"""A process that scores a share of new photos for the process that owns the prediction.

It reads one JSON line, the job, from its standard input, writes finished chunks into the prediction's folder, and says
``{"scored": n}`` after each. ``python -m base_models.runs.score_worker`` is started by
:func:`base_models.runs.shared_scoring.score_in_processes` and ends with it, however that ends.
"""

from __future__ import annotations

import sys

from stacking.process.child_processes import end_with_parent

if __name__ == "__main__":
    end_with_parent(int(sys.argv[1]))  # before the imports that take seconds

import json
import os

import torch

from base_models.runs.photo_packs import restore_packed
from base_models.runs.prediction import score_share


def main() -> int:
    """Score the share that the job names.

    Returns
    -------
    int
        0, or 130 where it was interrupted.
    """
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    job = json.loads(sys.stdin.readline())
    torch.set_num_threads(job["n_threads"])
    try:
        for n_scored in score_share(job, restore_packed(job["packed"])):
            answers.write(json.dumps({"scored": n_scored}) + "\n")
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
