"""Heads: what turns a body's features into one logit per label, one head per file."""

from base_models.networks.heads.attention import AttentionHead
from base_models.networks.heads.auxiliary import AuxiliaryHead
from base_models.networks.heads.body_output import BodyOutput, Head
from base_models.networks.heads.linear import LinearHead
from base_models.networks.heads.mlp import MlpHead
from base_models.networks.heads.recurrent import RecurrentHead, factorise_co_occurrence
from base_models.networks.heads.wide import WideHead

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
