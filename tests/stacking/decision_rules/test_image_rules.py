"""Image rules against brute force over every label set of every row, and what they refuse."""

import itertools
import json

import numpy as np
import pytest

from stacking import PredictionSet, StackingEnsemble
from stacking.decision_rules import ImageRules, apply_image_rules, apply_thresholds
from stacking.decision_rules import image_rules as module
from stacking.decision_rules.image_rules import group_of_labels
from stacking.testing import draw_scores

GROUPS = ("color", "color", "sleeve", "color", "", "sleeve", "")


def logit(value):
    return np.log(value / (1 - value))


def allowed(chosen, rules):
    low, high = rules.label_bounds
    if len(chosen) < low or (high is not None and len(chosen) > high):
        return False
    for group in rules.groups:
        count = sum(GROUPS[label] == group for label in chosen)
        most = min(rules.max_per_group.get(group, 99), 1 if group in rules.exclusive_groups else 99)
        if not rules.min_per_group.get(group, 0) <= count <= most:
            return False
    return True


def best_set(margins, rules):
    """The allowed set with the highest sum of margins, by trying all of them."""
    sets = [
        chosen
        for size in range(len(margins) + 1)
        for chosen in itertools.combinations(range(len(margins)), size)
        if allowed(chosen, rules)
    ]
    return max(sets, key=lambda chosen: margins[list(chosen)].sum())


RULES = [
    ImageRules(),
    ImageRules(never_empty=True),
    ImageRules(min_labels=3),
    ImageRules(max_labels=1),
    ImageRules(min_labels=2, max_labels=3),
    ImageRules(top_k=2),
    ImageRules(top_k=7),
    ImageRules(exclusive_groups=["color"]),
    ImageRules(exclusive_groups=["color", "sleeve"], min_labels=4),
    ImageRules(min_per_group={"sleeve": 1}, max_per_group={"color": 2}),
    ImageRules(min_per_group={"color": 2, "sleeve": 1}, max_labels=3),
    ImageRules(min_per_group={"color": 1}, exclusive_groups=["color"], top_k=3),
    ImageRules(max_per_group={"sleeve": 0}, never_empty=True),
]


@pytest.mark.parametrize("rules", RULES, ids=lambda rules: json.dumps(rules.as_dict()))
def test_the_best_allowed_set_is_found(rules, rng):
    y_score = rng.uniform(0.02, 0.98, (40, 7)).astype(np.float32)
    thresholds = rng.uniform(0.1, 0.9, 7)
    thresholds[3] = np.inf
    got = apply_image_rules(y_score, thresholds, rules, GROUPS)
    finite = np.where(np.isinf(thresholds), 0.5, thresholds)
    margins = logit(y_score.astype(float)) - np.where(np.isinf(thresholds), 100.0, logit(finite))
    for row, chosen in zip(margins, got, strict=True):
        assert tuple(np.flatnonzero(chosen)) == best_set(row, rules)


def test_rows_that_keep_the_rules_are_left_as_the_thresholds_decide(rng):
    y_score = rng.random((300, 7)).astype(np.float32)
    plain = apply_thresholds(y_score, 0.5)
    rules = ImageRules(min_labels=2, max_labels=5, exclusive_groups=["sleeve"])
    got = apply_image_rules(y_score, 0.5, rules, GROUPS)
    fine = np.array([allowed(np.flatnonzero(row), rules) for row in plain])
    assert 0 < fine.sum() < 300
    np.testing.assert_array_equal(got[fine], plain[fine])
    assert (got[~fine] != plain[~fine]).any(axis=1).all()


def test_equal_margins_go_to_the_lower_label():
    equal = np.full((1, 7), 0.7, dtype=np.float32)
    assert apply_image_rules(equal, 0.5, ImageRules(max_labels=2)).tolist() == [[True] * 2 + [False] * 5]
    assert apply_image_rules(equal, 0.9, ImageRules(min_labels=3)).tolist() == [[True] * 3 + [False] * 4]
    sleeve = apply_image_rules(equal, 0.5, ImageRules(exclusive_groups=["sleeve"]), GROUPS)
    assert np.flatnonzero(~sleeve).tolist() == [5]


def test_margins_are_relative_to_the_thresholds():
    scores = [[0.6, 0.3]]
    assert apply_image_rules(scores, [0.58, 0.1], ImageRules(top_k=1)).tolist() == [[False, True]]
    assert apply_image_rules(scores, 0.1, ImageRules(top_k=1)).tolist() == [[True, False]]


def test_extreme_scores_and_labels_that_never_fire():
    scores = np.array([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]], dtype=np.float32)
    got = apply_image_rules(scores, [0.5, np.inf, 1.0], ImageRules(never_empty=True))
    assert got.tolist() == [[False, False, True], [True, False, False]]
    empty = apply_image_rules([[0.1, 0.4, 0.2]], np.inf, ImageRules(never_empty=True))
    assert empty.tolist() == [[False, True, False]]
    # Clipped alike, yet only one of the two fires: it goes first.
    close = np.array([[1e-20, 1e-14]], dtype=np.float32)
    assert apply_image_rules(close, 1e-15, ImageRules(top_k=1)).tolist() == [[False, True]]


def test_blocks_do_not_show(rng, monkeypatch):
    y_score = rng.random((50, 7)).astype(np.float32)
    rules = ImageRules(top_k=3, exclusive_groups=["color"])
    whole = apply_image_rules(y_score, 0.5, rules, GROUPS)
    monkeypatch.setattr(module, "BLOCK_CELLS", 30)
    np.testing.assert_array_equal(apply_image_rules(y_score, 0.5, rules, GROUPS), whole)
    assert apply_image_rules(np.empty((0, 7)), 0.5, rules, GROUPS).shape == (0, 7)


def test_permuting_labels_permutes_the_answer(rng):
    y_score, order = rng.random((60, 7)), rng.permutation(7)
    rules = ImageRules(min_labels=2, max_labels=3, exclusive_groups=["color"], min_per_group={"sleeve": 1})
    got = apply_image_rules(y_score, 0.6, rules, GROUPS)
    turned = apply_image_rules(y_score[:, order], 0.6, rules, [GROUPS[label] for label in order])
    np.testing.assert_array_equal(turned, got[:, order])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min_labels": -1}, "min_labels must not be negative: got -1"),
        ({"max_per_group": {"color": -2}}, r"max_per_group\['color'\] must not be negative"),
        ({"min_labels": 3, "max_labels": 2}, "at least 3 and at most 2"),
        ({"never_empty": True, "max_labels": 0}, "at least 1 and at most 0"),
        ({"never_empty": True, "top_k": 0}, "at least 1 and at most 0"),
        ({"top_k": 2, "min_labels": 1}, "top_k must not be combined"),
        ({"exclusive_groups": "color"}, "must be a sequence of group names"),
        ({"exclusive_groups": ["color"], "min_per_group": {"color": 2}}, "must not exceed its maximum: got 2 and 1"),
    ],
)
def test_contradictory_rules_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ImageRules(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exclusive_groups": ["colur"]}, "'colur' must be a label group.*Did you mean 'color'"),
        ({"min_per_group": {"sleeve": 3}}, "must not exceed its 2 labels: got 3"),
        ({"min_labels": 8}, "the 7 labels that an image may have: got 8"),
        ({"top_k": 6, "exclusive_groups": ["color"]}, "the 5 labels that an image may have: got 6"),
        ({"max_labels": 1, "min_per_group": {"color": 1, "sleeve": 1}}, "room for the 2 labels.*got 1"),
    ],
)
def test_rules_that_no_image_could_keep_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        apply_image_rules(np.full((2, 7), 0.5), 0.5, ImageRules(**options), GROUPS)


def test_groups_come_from_names_where_none_are_given():
    assert group_of_labels(["a:b:c", "d"]) == ("a", "")
    assert group_of_labels(["a:b", "d"], ["x", "y"]) == ("x", "y")
    with pytest.raises(ValueError, match="one group per label: got 1 for 2"):
        group_of_labels(["a", "b"], ["x"])
    with pytest.raises(ValueError, match="one group per label: got 1 for 2"):
        apply_image_rules([[0.5, 0.5]], 0.5, ImageRules(top_k=1), ["x"])
    with pytest.raises(ValueError, match="no groups; name labels group:value"):
        apply_image_rules([[0.5, 0.5]], 0.5, ImageRules(exclusive_groups=["x"]))


def make_exclusive(rng, n_samples=400):
    """Two members see one color out of three, through noise, beside two labels of no group."""
    color = rng.integers(3, size=n_samples)
    y_true = np.column_stack([np.eye(3, dtype=np.uint8)[color], rng.random((n_samples, 2)) < 0.3]).astype(np.uint8)
    labels = ["color:red", "color:blue", "color:green", "striped", "long"]
    return PredictionSet(draw_scores(y_true, [1.2, 1.2], rng, offset=-1.0), labels=labels, y_true=y_true)


def test_an_ensemble_keeps_its_rules_and_its_estimate_counts_them(rng, tmp_path):
    predictions = make_exclusive(rng)
    rules = ImageRules(exclusive_groups=["color"], min_per_group={"color": 1})
    ruled = StackingEnsemble("mean", image_rules=rules).fit(predictions)
    plain = StackingEnsemble("mean").fit(predictions)
    y_pred = ruled.predict(predictions)
    assert (y_pred[:, :3].sum(axis=1) == 1).all()
    gain = ruled.report_["cross_fitted_micro_f1"] - plain.report_["cross_fitted_micro_f1"]
    assert gain > 0.03  # knowing that there is exactly one color helps, and the estimate says so
    ruled.save(tmp_path / "ensemble")
    again = StackingEnsemble.load(tmp_path / "ensemble")
    assert again.image_rules == rules
    np.testing.assert_array_equal(again.predict(predictions), y_pred)
    assert again.fingerprint == ruled.fingerprint != plain.fingerprint


def test_folders_written_before_there_were_image_rules_still_load(rng, tmp_path):
    predictions = make_exclusive(rng, 100)
    ensemble = StackingEnsemble("mean").fit(predictions)
    ensemble.save(tmp_path / "old")
    path = tmp_path / "old" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert "image_rules" not in manifest["description"]["parameters"]
    del manifest["description"]["label_groups"]
    path.write_text(json.dumps(manifest))
    again = StackingEnsemble.load(tmp_path / "old")
    assert again.image_rules is None
    assert again.fingerprint == ensemble.fingerprint
    np.testing.assert_array_equal(again.predict(predictions), ensemble.predict(predictions))


def test_unkeepable_rules_are_refused_before_fitting(rng, monkeypatch):
    from stacking.ensemble import ensemble

    monkeypatch.setattr(ensemble, "create_method", lambda *_, **__: pytest.fail("fitting began"))
    with pytest.raises(ValueError, match="must be a label group"):
        StackingEnsemble("mean", image_rules=ImageRules(exclusive_groups=["size"])).fit(make_exclusive(rng, 50))
