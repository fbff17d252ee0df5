"""Meta-learners: combiners that learn, label by label, from the members' out-of-fold scores."""

from stacking.meta_learners.blend import Blend
from stacking.meta_learners.convolutional import ConvolutionalStacker
from stacking.meta_learners.label_context import LabelContextStacker
from stacking.meta_learners.labelwise_logistic import LabelwiseLogistic
from stacking.meta_learners.pair_lightgbm import PairLightGBM
from stacking.meta_learners.per_label_lightgbm import PerLabelStacker
from stacking.meta_learners.ridge_context import RidgeContext

__all__ = [
    "Blend",
    "ConvolutionalStacker",
    "LabelContextStacker",
    "LabelwiseLogistic",
    "PairLightGBM",
    "PerLabelStacker",
    "RidgeContext",
]
