"""In which arithmetic the networks of a run score new photos: that of their training, or what a trial finds faster.

A trial is made once: its outcome is written into the folder that a prediction works in before anything is scored, and
whoever goes on there takes it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from base_models.training.trial import choose_scoring_precision
from stacking.files.atomic_files import atomic_write_json
from stacking.files.untrusted import read_json

logger = logging.getLogger(__name__)

RECORD = "arithmetic.json"
TRIED_PHOTOS = 64  # of the first ones; enough for the thousands of scores whose differences are looked at


class ScoringTrials:
    """What trials have found, by network.

    Parameters
    ----------
    work : pathlib.Path, optional
        Folder in which a prediction works; what is recorded there is taken.
    """

    def __init__(self, work: Path | None = None) -> None:
        self._path = None if work is None else work / RECORD
        self.found: dict[str, dict[str, Any]] = {}
        if self._path is not None and self._path.is_file():
            self.found = read_json(self._path, f"the record {self._path}")

    def try_network(self, key: str, words: str, load: Callable[[], Any], photos: Callable[[], Tensor]) -> str:
        """Choose a network's arithmetic, unless it is recorded.

        Parameters
        ----------
        key : str
            Names the network and all that decides its scores.
        words : str
            What readers call it.
        load : callable
            Returns the network.
        photos : callable
            Returns some photos.

        Returns
        -------
        str
            ``"float32"`` or ``"bfloat16"``.
        """
        if key not in self.found:
            precision, trial = choose_scoring_precision(load(), photos())
            self.found[key] = {"network": words, "precision": precision, **trial}
            told = ", ".join(f"{name} {value:g}" for name, value in trial.items())
            logger.info("%s scores in %s (%s)", words, precision, told)
            if self._path is not None:
                atomic_write_json(self._path, self.found)
        return str(self.found[key]["precision"])
