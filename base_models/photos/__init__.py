"""Photos as the networks see them: decoded, held as tensors, changed for training, named by a vocabulary."""
