"""Heads: what turns a body's features into one logit per label, one head per file."""

from typing import Any

from base_models.networks.heads.attention import AttentionHead
from base_models.networks.heads.auxiliary import AuxiliaryHead
from base_models.networks.heads.body_output import BodyOutput, Head
from base_models.networks.heads.linear import LinearHead
from base_models.networks.heads.mlp import MlpHead
from base_models.networks.heads.recurrent import RecurrentHead, factorize_co_occurrence
from base_models.networks.heads.wide import WideHead
from base_models.networks.heads.wide_recurrent import WideRecurrentHead

__all__ = [
    "AttentionHead",
    "AuxiliaryHead",
    "BodyOutput",
    "Head",
    "LinearHead",
    "MlpHead",
    "RecurrentHead",
    "WideHead",
    "WideRecurrentHead",
    "factorize_co_occurrence",
]


def __getattr__(name: str) -> Any:
    """Find what has another name now."""
    from stacking._earlier_names import find_earlier_name

    if name == "factorise_co_occurrence":
        return find_earlier_name(
            __name__, "base_models.networks.heads.recurrent", name, now={name: "factorize_co_occurrence"}
        )
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
