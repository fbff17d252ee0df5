"""Meta-learners: combiners that learn, label by label, from the members' out-of-fold scores."""

from stacking.combiners.meta_learners.convolutional import ConvolutionalStacker
from stacking.combiners.meta_learners.label_context import LabelContextStacker
from stacking.combiners.meta_learners.label_network import LabelNetworkStacker
from stacking.combiners.meta_learners.labelwise_logistic import LabelwiseLogistic
from stacking.combiners.meta_learners.ridge_context import RidgeContext
from stacking.combiners.meta_learners.trees.pair_lightgbm import PairLightGBM
from stacking.combiners.meta_learners.trees.per_label_lightgbm import PerLabelStacker

__all__ = [
    "ConvolutionalStacker",
    "LabelContextStacker",
    "LabelNetworkStacker",
    "LabelwiseLogistic",
    "PairLightGBM",
    "PerLabelStacker",
    "RidgeContext",
]
