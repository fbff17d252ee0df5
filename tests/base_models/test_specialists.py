"""Which labels specialists cover."""

import numpy as np
import pytest

from base_models.member_config import MemberConfig
from base_models.specialists import covered_labels

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
