"""Random changes: seeded by photo, white stays white, labels are not cut off."""

import numpy as np
import pytest
from scipy import stats

torch = pytest.importorskip("torch")

from base_models.photos.transforms import augment_photos, mix_photos, normalize_photos, shrink_photos  # noqa: E402
from base_models.recipe.training import TrainingConfig  # noqa: E402

STRENGTHS = ["none", "mirror", "light", "strong"]


@pytest.fixture
def photos(rng):
    return torch.from_numpy(rng.integers(0, 256, (8, 3, 20, 20), dtype=np.uint8))


@pytest.mark.parametrize("strength", STRENGTHS)
def test_a_photo_changes_alike_whatever_batch_it_is_in(photos, strength):
    rows = np.arange(8)
    whole = augment_photos(photos, rows, strength, seed=1, epoch=2)
    picked = augment_photos(photos[[5, 2]], rows[[5, 2]], strength, seed=1, epoch=2)
    assert whole.shape == photos.shape and whole.dtype == torch.float32
    assert torch.allclose(whole[[5, 2]], picked, atol=1e-3)
    assert float(whole.min()) >= 0 and float(whole.max()) <= 255


@pytest.mark.parametrize("strength", STRENGTHS[1:])
def test_epochs_differ_and_the_global_generator_is_left_alone(photos, strength):
    state = torch.get_rng_state()
    first, second = (augment_photos(photos, np.arange(8), strength, seed=1, epoch=epoch) for epoch in (0, 1))
    assert not torch.equal(first, second)
    assert torch.equal(torch.get_rng_state(), state)


def test_mirror_gives_the_photo_or_its_mirror_image(photos):
    changed = augment_photos(photos, np.arange(8), "mirror", 0, 0)
    same = [torch.equal(a, b.float()) for a, b in zip(changed, photos, strict=True)]
    mirrored = [torch.equal(a, b.flip(-1).float()) for a, b in zip(changed, photos, strict=True)]
    assert all(a or b for a, b in zip(same, mirrored, strict=True)) and any(same) and any(mirrored)


def test_light_keeps_white_white_and_most_of_the_photo():
    white = torch.full((16, 3, 20, 20), 255, dtype=torch.uint8)
    assert torch.all(augment_photos(white, np.arange(16), "light", 0, 0) == 255)
    white[:, :, 9:11, 9:11] = 0  # a mark in the middle survives every crop
    changed = augment_photos(white, np.arange(16), "light", 0, 0)
    assert torch.all(changed.flatten(1).min(dim=1).values < 120)


def test_normalization_is_per_channel():
    photos = torch.full((1, 3, 2, 2), 255.0)
    expected = (1 - np.array([0.485, 0.5, 0.4])) / np.array([0.2, 0.5, 0.25])
    out = normalize_photos(photos, (0.485, 0.5, 0.4), (0.2, 0.5, 0.25))
    np.testing.assert_allclose(out[0, :, 0, 0].numpy(), expected, rtol=1e-6)


def test_an_unknown_strength_is_refused(photos):
    with pytest.raises(ValueError, match="augmentation must be one of"):
        augment_photos(photos, np.arange(8), "wild", 0, 0)


def test_mixing_blends_photos_and_labels_alike():
    photos = torch.arange(3.0).view(3, 1, 1, 1).expand(3, 3, 2, 2)
    target = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 1.0], [0.0, 1.0]])
    mixed, labels, known = mix_photos(photos, target, mask, 0.75)
    assert mixed[:, 0, 0, 0].tolist() == [0.5, 1.0, 1.5]
    assert labels.tolist() == [[0.75, 0.25], [0.0, 0.0], [0.25, 0.75]]
    assert known.tolist() == [[0, 1], [1, 1], [0, 1]]
    assert mix_photos(photos, target, None, 0.75)[2] is None


def test_shrunk_photos_keep_their_means():
    photos = torch.zeros(1, 3, 24, 24)
    photos[:, :, :12] = 240.0
    small = shrink_photos(photos, 16)
    assert small.shape == (1, 3, 16, 16) and shrink_photos(photos, 24) is photos
    assert small.mean() == pytest.approx(120.0, abs=0.5)
    assert small[0, 0, 0, 0] == pytest.approx(240.0) and small[0, 0, -1, 0] == pytest.approx(0.0)


def test_draws_are_uniform_and_independent_of_row_epoch_and_seed():
    from base_models.photos.transforms import _draw

    rows = np.arange(20_000)
    draws = _draw(rows, 1, 0)
    others = [_draw(rows, 1, 1), _draw(rows, 2, 0), np.roll(draws, 1, axis=0), np.roll(draws, 1, axis=1)]
    assert draws.dtype == np.float32 and draws.min() >= 0 and draws.max() < 1
    for column in draws.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    for other in others:
        assert abs(np.corrcoef(draws.ravel(), other.ravel())[0, 1]) < 0.02
    np.testing.assert_array_equal(_draw(rows[[7, 3, 7]], 1, 0), draws[[7, 3, 7]])


def test_splitmix64_gives_the_published_sequence():
    from base_models.photos import transforms

    def reference(state):  # one number after another, in Python's integers
        while True:
            state = (state + 0x9E3779B97F4A7C15) % 2**64
            z = state
            z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) % 2**64
            z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) % 2**64
            yield ((z ^ (z >> 31)) >> 40) / 2**24

    start = int(np.random.SeedSequence((5, 6)).generate_state(1, np.uint64)[0])
    sequence = reference(start)
    expected = [[next(sequence) for _ in range(transforms.N_DRAWS)] for _ in range(4)]
    np.testing.assert_array_equal(transforms._draw(np.arange(4), 5, 6), np.array(expected, np.float32))


def test_zoom_and_shade_are_as_large_as_asked_for():
    ramp = torch.arange(100, dtype=torch.uint8).repeat(1, 3, 100, 1)  # a pixel's value is its column
    rows = np.arange(400)
    plain = {"max_zoom": 1.05, "max_shade": 0.0}
    changed = augment_photos(ramp.expand(400, -1, -1, -1), rows, "light", 0, 0, **plain)[:, 0, 50]
    spread = (changed[:, -1] - changed[:, 0]).abs() / 99  # the part of the photo that is left across
    assert 1 / 1.05 - 0.01 < float(spread.min()) < 0.965 and float(spread.max()) > 0.99
    gray = torch.full((400, 3, 8, 8), 155, dtype=torch.uint8)
    shaded = augment_photos(gray, rows, "light", 0, 0, max_zoom=1.0, max_shade=0.1)[:, 0, 4, 4]
    assert float(shaded.min()) == pytest.approx(145, abs=0.5) and float(shaded.max()) == pytest.approx(165, abs=0.5)
    with pytest.raises(ValueError, match="max_zoom must be at least 1"):
        TrainingConfig(max_zoom=0.5)
