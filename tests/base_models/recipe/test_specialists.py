"""Which labels specialists cover."""

import numpy as np
import pytest

from base_models.recipe.member import MemberConfig
from base_models.recipe.specialists import covered_labels
from base_models.recipe.training import TrainingConfig

COUNTS = np.array([50, 7, 50, 0, 120, 9])


def member(labels, **split):
    return MemberConfig("m", "resnet50", labels=labels, **split)


@pytest.mark.parametrize("split", [{"split_count": 9}, {"split_count": 50}, {"split_share": 0.5}, {"split_share": 0.2}])
def test_frequent_and_rare_share_no_label_and_leave_none_out(split):
    frequent, rare = (covered_labels(member(labels, **split), COUNTS) for labels in ("frequent", "rare"))
    assert sorted([*frequent, *rare]) == list(range(len(COUNTS)))
    assert COUNTS[frequent].min() >= COUNTS[rare].max()


def test_count_and_share_mean_what_they_say():
    assert covered_labels(member("frequent", split_count=50), COUNTS).tolist() == [0, 2, 4]
    assert covered_labels(member("frequent", split_share=0.34), COUNTS).tolist() == [0, 4]
    assert covered_labels(member("all"), COUNTS).tolist() == list(range(6))


def test_a_specialist_without_labels_is_refused():
    with pytest.raises(ValueError, match=r"no label is frequent \(the largest count is 120\); change the split"):
        covered_labels(member("frequent", split_count=1000), COUNTS)


def test_tiers_share_no_label_and_leave_none_out():
    tiers = [covered_labels(member("tier", tier_counts=(9, 50), tier=tier), COUNTS).tolist() for tier in range(3)]
    assert tiers == [[1, 3], [5], [0, 2, 4]]
    with pytest.raises(ValueError, match=r"with tier_counts \[500\] no label is in tier 1"):
        covered_labels(member("tier", tier_counts=(500,), tier=1), COUNTS)


@pytest.mark.parametrize("labels", ["all", "rare"])
def test_labels_below_a_count_are_dropped(labels):
    training = TrainingConfig(min_label_count=8)
    covered = covered_labels(member(labels, split_count=60, training=training), COUNTS)
    assert covered.tolist() == ([0, 2, 4, 5] if labels == "all" else [0, 2, 5])
    with pytest.raises(ValueError, match="all labels and min_label_count 500 no label is left"):
        covered_labels(member("all", training=TrainingConfig(min_label_count=500)), COUNTS)
