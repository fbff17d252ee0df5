"""Networks: bodies with their weights, the heads on them, and what they answer."""

from stacking._earlier_names import names_of_the_module

__getattr__ = names_of_the_module(__name__, "base_models.networks.network")
