"""Heads: what turns a body's features into one logit per label, one head per file."""

from base_models.heads.attention import AttentionHead
from base_models.heads.auxiliary import AuxiliaryHead
from base_models.heads.body_output import BodyOutput, Head
from base_models.heads.linear import LinearHead
from base_models.heads.mlp import MlpHead
from base_models.heads.recurrent import RecurrentHead, factorise_co_occurrence
from base_models.heads.wide import WideHead

__all__ = [
    "AttentionHead",
    "AuxiliaryHead",
    "BodyOutput",
    "Head",
    "LinearHead",
    "MlpHead",
    "RecurrentHead",
    "WideHead",
    "factorise_co_occurrence",
]
