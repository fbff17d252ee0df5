"""Losses against their formulas and timm's own."""

import pytest

torch = pytest.importorskip("torch")

from base_models.losses import multilabel_loss  # noqa: E402


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(7, 5, generator=generator) * 3
    return logits, (torch.rand(7, 5, generator=generator) < 0.3).float()


def test_bce_is_torchs(batch):
    expected = torch.nn.functional.binary_cross_entropy_with_logits(*batch)
    assert torch.allclose(multilabel_loss(*batch), expected)


def test_focal_is_its_formula(batch):
    logits, target = batch
    right = torch.where(target > 0, logits.sigmoid(), 1 - logits.sigmoid())
    expected = (-((1 - right) ** 2) * right.log()).mean()
    assert torch.allclose(multilabel_loss(logits, target, "focal"), expected, rtol=1e-4)


def test_asymmetric_is_timms_averaged_over_labels(batch):
    from timm.loss import AsymmetricLossMultiLabel

    expected = AsymmetricLossMultiLabel(gamma_neg=4, gamma_pos=1, clip=0.05)(*batch) / batch[0].shape[1]
    assert torch.allclose(multilabel_loss(*batch, "asymmetric"), expected, rtol=1e-4)


@pytest.mark.parametrize("kind", ["bce", "focal", "asymmetric"])
def test_masked_entries_count_neither_way(batch, kind):
    logits, target = batch
    mask = torch.ones_like(logits)
    mask[2:4] = 0
    mask[:, 1] = 0
    rows, columns = [0, 1, 4, 5, 6], [0, 2, 3, 4]
    inside = multilabel_loss(logits[rows][:, columns], target[rows][:, columns], kind)
    assert torch.allclose(multilabel_loss(logits, target, kind, mask), inside, rtol=1e-5)
    changed = torch.where(mask > 0, logits, torch.full_like(logits, 50.0))
    assert torch.allclose(multilabel_loss(changed, target, kind, mask), inside, rtol=1e-5)


def test_extreme_logits_stay_finite_and_an_empty_mask_gives_zero(batch):
    logits, target = batch
    for kind in ("bce", "focal", "asymmetric"):
        assert torch.isfinite(multilabel_loss(logits * 100, target, kind))
        assert multilabel_loss(logits, target, kind, torch.zeros_like(logits)) == 0


def test_an_unknown_loss_is_refused(batch):
    with pytest.raises(ValueError, match="loss must be one of"):
        multilabel_loss(*batch, kind="hinge")
