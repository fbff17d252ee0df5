"""Photos as the networks see them: decoded, held as tensors, changed for training, named by a vocabulary."""

from stacking._earlier_names import names_of_the_module

__getattr__ = names_of_the_module(__name__, "base_models.photos.decoding")
