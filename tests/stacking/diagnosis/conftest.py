"""Honest members of different skill, on labels that go together as real ones do."""

import numpy as np
import pytest

SKILLS = (0.9, 1.3, 1.8, 2.4)


@pytest.fixture
def honest():
    """Return a function: seed → (scores of four members, truth), 320 samples and 8 labels."""

    def make(seed, n_samples=320, n_labels=8):
        rng = np.random.default_rng(seed)
        common = rng.normal(size=(n_samples, 2)) @ rng.normal(size=(2, n_labels))
        latent = 0.6 * common + rng.normal(size=(n_samples, n_labels))
        cut = np.quantile(latent, np.linspace(0.5, 0.88, n_labels), axis=0).diagonal()
        y_true = (latent > cut).astype(np.uint8)
        blur = 0.7 * rng.normal(size=latent.shape)  # what no member can see: they err together
        members = [latent + blur + skill * rng.normal(size=latent.shape) for skill in SKILLS]
        y_scores = np.stack([1 / (1 + np.exp(-1.5 * (member - cut))) for member in members]).astype(np.float32)
        return y_scores, y_true

    return make
