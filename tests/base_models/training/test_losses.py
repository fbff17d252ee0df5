"""Losses against their formulas and timm's own."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.recipe.training import TrainingConfig  # noqa: E402
from base_models.training.losses import create_loss  # noqa: E402

POSITIVES = np.array([40, 3, 0, 12, 25])
ENTRIES = ["bce", "focal", "asymmetric", "poly", "distribution-balanced"]
KINDS = [*ENTRIES, "two-way", "zlpr"]


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(7, 5, generator=generator) * 3
    return logits, (torch.rand(7, 5, generator=generator) < 0.3).float()


def loss_of(kind="bce", positives=POSITIVES, **settings):
    return create_loss(TrainingConfig(loss=kind, **settings), positives, 100)


def test_bce_is_torchs(batch):
    expected = torch.nn.functional.binary_cross_entropy_with_logits(*batch)
    assert torch.equal(loss_of()(*batch), expected)


@pytest.mark.parametrize("gamma", [0.0, 1.5, 2.0])
def test_focal_is_its_formula(batch, gamma):
    logits, target = batch
    right = torch.where(target > 0, logits.sigmoid(), 1 - logits.sigmoid())
    expected = (-((1 - right) ** gamma) * right.log()).mean()
    assert torch.allclose(loss_of("focal", focal_gamma=gamma)(logits, target), expected, rtol=1e-4)


@pytest.mark.parametrize("settings", [(4, 1, 0.05), (2, 0, 0.0)])
def test_asymmetric_is_timms_averaged_over_labels(batch, settings):
    from timm.loss import AsymmetricLossMultiLabel

    negative, positive, clip = settings
    expected = AsymmetricLossMultiLabel(gamma_neg=negative, gamma_pos=positive, clip=clip)(*batch) / batch[0].shape[1]
    ours = loss_of("asymmetric", gamma_negative=negative, gamma_positive=positive, margin=clip)
    assert torch.allclose(ours(*batch), expected, rtol=1e-4)


def test_the_other_losses_are_timms(batch):
    from timm.loss import DistributionBalancedLoss, PolyBinaryCrossEntropy, TwoWayLoss, ZlprLoss

    for ours, theirs in {
        loss_of("poly", poly_epsilon=1.5): PolyBinaryCrossEntropy(epsilon=1.5),
        loss_of("two-way"): TwoWayLoss(),
        loss_of("zlpr"): ZlprLoss(),
        loss_of("distribution-balanced"): DistributionBalancedLoss(POSITIVES.tolist(), 100),
    }.items():
        assert torch.allclose(ours(*batch), theirs(*batch), rtol=1e-5)


def test_positives_are_weighed_by_the_ratio_of_negatives_to_positives(batch):
    logits, target = batch
    ratio = torch.tensor([60 / 40, 97 / 3, 99.0, 88 / 12, 75 / 25])
    for power, limit, weight in ((1.0, 0.0, ratio), (0.5, 5.0, ratio.sqrt().clamp(max=5.0))):
        settings = {"class_weights": "negative-positive", "class_weight_power": power, "class_weight_limit": limit}
        expected = -(weight * target * logits.sigmoid().log() + (1 - target) * (-logits).sigmoid().log())
        assert torch.allclose(loss_of(**settings)(logits, target), expected.mean(), rtol=1e-4)


def test_rare_labels_weigh_more_by_inverse_frequency_and_by_effective_number(batch):
    logits, target = batch
    entries = torch.nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="none")
    counts = np.maximum(POSITIVES, 1)
    for method, weight in {
        "inverse-frequency": (100 / counts) ** 0.5,
        "effective-number": (1 - 0.999) / (1 - 0.999**counts),
    }.items():
        expected = (entries * torch.from_numpy(weight / weight.mean()).float()).mean()
        assert torch.allclose(loss_of(class_weights=method)(logits, target), expected, rtol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("weights", ["none", "negative-positive"])
def test_masked_entries_count_neither_way(batch, kind, weights):
    if weights != "none" and kind in KINDS[4:]:
        pytest.skip("weighs labels itself")
    logits, target = batch
    mask = torch.ones_like(logits)
    mask[2:4] = 0
    mask[:, 1] = 0
    rows, columns = [0, 1, 4, 5, 6], [0, 2, 3, 4]
    loss = loss_of(kind, class_weights=weights)
    inside = loss_of(kind, POSITIVES[columns], class_weights=weights)(
        logits[rows][:, columns], target[rows][:, columns]
    )
    assert torch.allclose(loss(logits, target, mask), inside, rtol=1e-5)
    changed = torch.where(mask > 0, logits, torch.full_like(logits, 50.0)).requires_grad_()
    lied = torch.where(mask > 0, target, 1 - target)
    found = loss(changed, lied, mask)
    assert torch.allclose(found, inside, rtol=1e-5)
    found.backward()
    assert torch.all(changed.grad[mask == 0] == 0) and torch.any(changed.grad != 0)


@pytest.mark.parametrize("kind", KINDS)
def test_extreme_logits_stay_finite_and_an_empty_mask_gives_zero(batch, kind):
    logits, target = batch
    assert torch.isfinite(loss_of(kind)(logits * 100, target))
    assert loss_of(kind)(logits, target, torch.zeros_like(logits)) == 0


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="loss must be one of"):
        loss_of("hinge")
    with pytest.raises(ValueError, match="class_weights must be 'none' with loss 'zlpr'"):
        loss_of("zlpr", class_weights="negative-positive")
    with pytest.raises(ValueError, match=r"margin must lie in \[0, 1\)"):
        loss_of("asymmetric", margin=1.0)
