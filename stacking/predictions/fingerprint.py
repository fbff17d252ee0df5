"""The hash of all that a prediction set holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stacking.predictions.sources import ScoreSource, hash_scores


def hash_predictions(
    names: Mapping[str, Any], source: ScoreSource, metadata: Mapping[str, npt.NDArray[Any] | None], also: str = ""
) -> str:
    """Hash names, scores and metadata.

    Parameters
    ----------
    names : mapping of str to sequence of str
        Names along the axes.
    source : ScoreSource
        The scores: read once if they are in memory; a whole store has recorded their hashes.
    metadata : mapping of str to ndarray or None
        By name; those that are None have no part in it.
    also : str, default=""
        A hash of what else belongs to it.

    Returns
    -------
    str
        SHA-256 in hexadecimal.
    """
    digest = hashlib.sha256()
    digest.update(json.dumps(names).encode())
    for model in range(source.shape[0]):
        digest.update(hash_scores(source, model).encode())
    for name, values in metadata.items():
        if values is not None:
            is_text = values.dtype.kind == "U"
            content = json.dumps(values.tolist()).encode() if is_text else np.ascontiguousarray(values).tobytes()
            digest.update(f"{name}{values.shape}{values.dtype.kind}".encode() + content)
    digest.update(also.encode())
    return digest.hexdigest()
