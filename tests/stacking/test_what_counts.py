"""What does not count moves nothing: cells that nobody annotated, rows of weight 0, the unit of the weights.

Run over every public thing that takes them; combiners have the check in their own suite
(`tests/stacking/combiners/test_combiner.py`). Groups are never split, and blank ones are one group each.
"""

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

import labelstack
from experiments.reports.evaluation import evaluate_ensemble
from experiments.row_split import hold_back
from stacking import StackingEnsemble, StackingMultilabelClassifier, compare, tune_thresholds
from stacking._checks import check_groups
from stacking.combiners.auto.race import AutoCombiner
from stacking.combiners.combiner import Combiner
from stacking.combiners.meta_learners import LabelwiseLogistic, PairLightGBM, PerLabelStacker
from stacking.combiners.registry import create_method
from stacking.combiners.voting import WeightedVoting
from stacking.combiners.voting.objectives.creation import create_objective
from stacking.combiners.voting.objectives.registry import list_objectives
from stacking.decision_rules import ImageRules, get_decision_rule, list_decision_rules
from stacking.decision_rules.choice import choose_thresholds, nested_decisions
from stacking.decision_rules.score_blocks import ADDITIVE_RULES, ScoreBlocks
from stacking.folds import deal_folds, hold_out, sample_rows, stratified_group_folds
from stacking.metrics import constant_labels, macro_f1, micro_f1, samples_f1
from stacking.metrics.paired_difference import F1Counts, paired_gain
from stacking.predictions import PredictionSet
from stacking.testing import check_what_counts, make_predictions, make_uncounted
from stacking.ties import exceeds, first_best
from stacking.truth import Truth


def metadata_of(predictions):
    return {name: getattr(predictions, name) for name in ("y_known", "sample_weight", "groups")}


def mean_of(predictions):
    return predictions.to_array().mean(axis=0)


def of_counted(predictions, rows):
    return rows if predictions.truth.counted is None else rows[predictions.truth.counted]


# -- decision rules ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", [rule for rule in list_decision_rules() if not get_decision_rule(rule).by_sample])
def test_thresholds(rule):
    check_what_counts(lambda p: tune_thresholds(mean_of(p), p.y_true, rule, **metadata_of(p)))


@pytest.mark.parametrize("rule", ADDITIVE_RULES)
def test_thresholds_over_blocks(rule):
    def answer(predictions):
        y_score = mean_of(predictions)
        return ScoreBlocks(y_score.__getitem__, predictions, block=37).tune(rule)

    check_what_counts(answer)


@pytest.mark.parametrize("rule", list_decision_rules())
def test_nested_decisions(rule):
    def answer(predictions):
        folds = deal_folds(predictions.truth, 3)
        return of_counted(predictions, nested_decisions(mean_of(predictions), predictions, folds, rule=rule))

    check_what_counts(answer)


def test_the_choice_of_a_rule():
    def answer(predictions):
        choice = choose_thresholds(mean_of(predictions), predictions, deal_folds(predictions.truth))
        return [*choice.thresholds, *choice.scores.values()]

    for seed in range(3):
        check_what_counts(answer, predictions=make_uncounted(random_state=seed))


# -- folds, samples, holdouts ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("grouped", [False, True])
def test_folds_holdouts_and_samples(grouped):
    def truth_of(predictions):
        return (predictions if grouped else predictions.with_groups(None)).truth

    def names_of(predictions, rows):
        positions = np.flatnonzero(rows) if rows.dtype == bool else rows
        return predictions.ids[positions]

    check_what_counts(lambda p: of_counted(p, deal_folds(truth_of(p), 4)))
    check_what_counts(lambda p: of_counted(p, hold_out(truth_of(p), 0.3)))
    for stratified in (False, True):
        check_what_counts(lambda p: names_of(p, sample_rows(truth_of(p), 50, stratified=stratified)))  # noqa: B023


def test_rows_held_back():
    check_what_counts(lambda p: hold_back(p.only_counted(), 0.6)[0].ids)
    first, rest = hold_back(make_uncounted(), 0.6)
    assert 0.5 < first.n_samples / (first.n_samples + rest.n_samples) < 0.7
    named = {str(group) for group in first.groups} & {str(group) for group in rest.groups}
    assert named <= {""}


def test_groups_are_never_split():
    predictions = make_uncounted(n_samples=300)
    truth = predictions.truth
    for rows in (deal_folds(truth, 4), hold_out(truth, 0.3).astype(int)):
        assert all(len(np.unique(rows[truth.groups == group])) == 1 for group in np.unique(truth.groups))
    counted = np.flatnonzero(truth.counted)
    for stratified in (False, True):
        drawn = sample_rows(truth, 70, stratified=stratified)
        assert 50 < len(drawn) <= 70
        for group in np.unique(truth.groups[drawn]):
            assert set(counted[truth.groups[counted] == group]) <= set(drawn)


def test_a_group_larger_than_the_sample_is_cut_where_nothing_smaller_is_left():
    truth = Truth.check(np.ones((90, 1), np.uint8), groups=np.arange(90) // 30)
    assert len(sample_rows(truth, 10)) == len(sample_rows(truth, 10, stratified=True)) == 10


BLANKS = {
    "None": ["a", "a", None, None, "b", None],
    "NaN among names": ["a", "a", float("nan"), float("nan"), "b", float("nan")],
    "empty": ["a", "a", "", " ", "b", ""],
    "an object array": np.array(["a", "a", None, np.nan, "b", ""], dtype=object),
    "numpy's text of NaN": np.array(["a", "a", np.nan, np.nan, "b", np.nan]),
    "NaN among numbers": np.array([1.0, 1.0, np.nan, np.nan, 2.0, np.nan]),
    "a nullable series": pd.Series([1, 1, None, None, 2, None], dtype="Int64"),
}


@pytest.mark.parametrize("groups", BLANKS.values(), ids=BLANKS)
def test_a_blank_group_is_a_group_of_its_own(groups):
    truth = Truth.check(np.ones((6, 1), np.uint8), groups=groups)
    assert truth.groups.tolist() == [0, 0, 2, 3, 1, 4]
    assert truth.n_units == 5
    folds = stratified_group_folds(np.eye(6, dtype=np.uint8), 3, groups=groups)
    assert folds[0] == folds[1] and np.bincount(folds).tolist() == [2, 2, 2]


def test_groups_without_a_name_are_no_groups():
    assert Truth.check(np.ones((3, 1), np.uint8), groups=[None, "", float("nan")]).groups is None
    predictions = make_predictions(n_samples=20)
    np.testing.assert_array_equal(deal_folds(predictions.with_groups([None] * 20).truth), deal_folds(predictions.truth))


def test_groups_that_are_neither_numbers_nor_names_are_refused():
    with pytest.raises(TypeError, match=r"groups must be integers, text or dates: got 1\.5"):
        check_groups([1.5, 2.0], 2)
    with pytest.raises(ValueError, match="groups must hold one value per sample"):
        check_groups([1, 2, 3], 2)


# -- searches, gains, figures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", list_objectives())
def test_weight_objectives(name):
    candidates = np.random.default_rng(0).dirichlet(np.ones(3), 5)
    check_what_counts(lambda p: create_objective(name, p)(candidates))


@pytest.mark.parametrize(
    "build",
    [
        lambda: WeightedVoting(max_rows=60),
        lambda: WeightedVoting(max_rows=60, weights_per="label"),
        lambda: WeightedVoting("pso", max_rows=60, optimizer_options={"n_iterations": 5}),
        lambda: LabelwiseLogistic(max_rows=60),
        lambda: PerLabelStacker(max_rows=60, n_trees=3),
        lambda: PairLightGBM(max_rows=60, n_trees=3),
        lambda: AutoCombiner(methods=["greedy", "logistic"], max_rows=60),
    ],
)
def test_a_fit_on_a_sample_of_rows(build):
    fresh = make_predictions(n_samples=30, random_state=5)
    check_what_counts(lambda p: build().fit(p).predict_proba(fresh))


def test_paired_gains():
    def answer(predictions):
        first, second = (F1Counts(predictions.truth.count(mean_of(predictions) > limit)) for limit in (0.4, 0.5))
        gain = paired_gain(first, second)
        return [first.micro_f1, gain.gain, gain.standard_error, gain.effective_units]

    check_what_counts(answer, tolerance=1e-12)


def test_metrics():
    def answer(predictions):
        masks = {"y_known": predictions.y_known, "sample_weight": predictions.sample_weight}
        decided = mean_of(predictions) > 0.45
        figures = [metric(predictions.y_true, decided, **masks) for metric in (micro_f1, macro_f1, samples_f1)]
        return [*figures, *constant_labels(predictions.y_true, **masks)]

    check_what_counts(answer, tolerance=1e-12)


# -- whole predictors --------------------------------------------------------------------------------------------------


def numbers_of(rows, skip=()):
    """Return every number of leaderboard rows but times, by method."""
    unwanted = ("seconds", "memory", *skip)
    rows = sorted(rows, key=lambda row: row["method"])
    return [
        float(value)
        for row in rows
        for key, value in row.items()
        if isinstance(value, int | float) and not any(word in key for word in unwanted)
    ]


@pytest.mark.parametrize("image_rules", [None, ImageRules(max_labels=2)])
def test_ensembles(image_rules):
    fresh = make_predictions(n_samples=30, random_state=5)

    def answer(predictions):
        ensemble = StackingEnsemble("logistic", image_rules=image_rules).fit(predictions)
        assert ensemble.report_["n_samples"] == int(make_uncounted().truth.counted.sum())
        return [*ensemble.predict(fresh).ravel(), *ensemble.thresholds_, *ensemble.report_["rules"].values()]

    check_what_counts(answer)


def test_compare():
    def answer(predictions):
        found = compare(predictions, ["mean", "greedy"], n_splits=3, n_bootstrap=20)
        content = found.to_dict()
        figures = [value for result in found.results.values() for value in result.histogram.cells]
        assert "must" not in found.verdict()
        return [content["constant_answer"], *numbers_of(content["rows"]), *figures]

    check_what_counts(answer, tolerance=1e-9)


def test_evaluate():
    ensemble = StackingEnsemble("mean").fit(make_predictions(random_state=9))

    def answer(predictions):
        renamed = PredictionSet(
            predictions.to_array(),
            np.char.add("new", predictions.ids),
            predictions.models,
            predictions.labels,
            **predictions.metadata(),
        )
        found = evaluate_ensemble(ensemble, renamed, n_bootstrap=20)
        leaderboard, report = found.leaderboard, found.report
        curves = [text for section in report.sections[1:] for block in section.blocks for text in (repr(block),)]
        digest = [hash(text) % 2**31 for text in curves]
        return [*numbers_of(leaderboard["rows"]), *digest]

    check_what_counts(answer, tolerance=1e-9)


def test_the_classifier(rng):
    features = rng.normal(size=(160, 5))
    truth = (features[:, :3] + rng.normal(size=(160, 3)) > 0.5).astype(np.uint8)
    weight = rng.choice([0.0, 0.7, 1.3, 2.0], 160)
    groups = np.array([f"g{row // 3}" if row % 5 else None for row in range(160)], dtype=object)
    kept = weight > 0
    bases = [("linear", LogisticRegression()), ("tree", DecisionTreeClassifier(max_depth=2, random_state=0))]

    def answer(rows=slice(None), target=truth, weight=weight):
        stack = StackingMultilabelClassifier(bases, "logistic")
        stack.fit(features[rows], target[rows], groups=groups[rows], sample_weight=weight[rows])
        return np.concatenate([stack.predict_proba(features), stack.predict(features)])

    expected = answer()
    for other in (
        answer(kept),
        answer(target=np.where(kept[:, None], truth, 1 - truth)),
        *(answer(weight=weight * scale) for scale in (1e-6, 1000.0, 1 / weight.sum())),
    ):
        np.testing.assert_array_equal(other, expected)


def test_the_classifier_finds_out_about_groups_before_it_fits():
    class Untouched(LogisticRegression):
        def fit(self, *args, **kwargs):
            pytest.fail("fitted before the groups were checked")

    features, truth = np.zeros((40, 2)), np.eye(40, 2, dtype=np.uint8)
    for groups, message in (
        ([1.5] * 40, "groups must be integers"),
        (["a"] * 40, "at least 2 groups"),
        ([1], "groups must hold"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            StackingMultilabelClassifier([("a", Untouched())], "mean").fit(features, truth, groups=groups)


class Witness(Combiner):
    """Remembers the groups of the rows that it was fitted on, and whether it was ever asked about one of them."""

    fits = None

    def _fit(self, predictions):
        self.seen_ = {str(name).split("/")[0] for name in predictions.ids}

    def _predict(self, predictions, covers):
        asked = {str(name).split("/")[0] for name in predictions.ids}
        type(self).fits.append((self.seen_, asked))
        return mean_of(predictions)


@pytest.mark.parametrize("n_groups", [3, 5, 6, 30])
def test_no_group_lies_on_both_sides_of_a_fit(n_groups):
    predictions = make_predictions(n_samples=150)
    names = np.arange(150) % n_groups
    ids = [f"{group}/{row}" for row, group in enumerate(names)]
    known = PredictionSet(predictions.to_array(), ids, y_true=predictions.y_true, groups=names)
    Witness.fits = []
    StackingEnsemble(Witness()).fit_out_of_fold(known)
    found = compare(known, {"witness": Witness()}, n_splits=5, n_bootstrap=5)
    assert len(found.results["witness"].rules) == min(n_groups, 5)
    assert Witness.fits
    assert not any(seen & asked for seen, asked in Witness.fits)


def test_one_group_cannot_be_compared_and_auto_keeps_to_the_mean():
    predictions = make_predictions(n_samples=60).with_groups(np.zeros(60, int))
    with pytest.raises(ValueError, match="at least 2 groups that count to be compared: got 1"):
        compare(predictions, ["mean"])
    for few in (predictions, predictions.subset(samples=[0])):
        ensemble = StackingEnsemble().fit(few)
        assert [entry["name"] for entry in ensemble.combiner_.entries_ if entry["weight"]] == ["mean"]
        assert "nothing could be held out" in str(ensemble.report_)
        assert any("nothing can be held out" in note for note in ensemble.report_["notes"])


# -- what fit ships is what compare scores -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("mean", {}),
        ("greedy", {"image_rules": ImageRules(min_labels=1, max_labels=2)}),
        ("logistic", {"rule": "micro-macro-f1"}),
        ("auto", {"image_rules": ImageRules(max_labels=2)}),
    ],
)
def test_compare_scores_what_fit_ships(method, options):
    predictions, holdout = make_predictions(n_samples=150), make_predictions(n_samples=80, random_state=4)
    holdout = PredictionSet(holdout.to_array(), [f"new{row}" for row in range(80)], y_true=holdout.y_true)
    found = compare(predictions, [method], holdout=holdout, n_bootstrap=5, **options)
    ensemble = StackingEnsemble(method, **options).fit(predictions)
    np.testing.assert_array_equal(found.held_out(method).y_pred, ensemble.predict(holdout))
    np.testing.assert_array_equal(found.held_out(method).y_score, ensemble.predict_proba(holdout))
    assert found.row(method).rule == ensemble.report_["rule"]
    assert found.row(method).score == pytest.approx(micro_f1(holdout.y_true, ensemble.predict(holdout)))


def test_nested_folds_score_what_fit_ships_on_the_other_folds():
    predictions = make_predictions(n_samples=150)
    found = compare(predictions, ["logistic"], n_splits=3, n_bootstrap=5)
    folds = deal_folds(predictions.truth, 3)
    for fold in range(3):
        ensemble = StackingEnsemble("logistic", n_splits=3).fit(predictions.subset(samples=folds != fold))
        shipped = ensemble.predict(predictions.subset(samples=folds == fold))
        np.testing.assert_array_equal(found.held_out("logistic").y_pred[folds == fold], shipped)


def test_ensembles_of_ones_own_are_compared_as_they_are():
    predictions = make_predictions(n_samples=120)
    own = StackingEnsemble("mean", rule="half", image_rules=ImageRules(top_k=1))
    found = compare(predictions, {"mine": own}, n_splits=3, n_bootstrap=5)
    assert (found.held_out("mine").y_pred.sum(axis=1) == 1).all()
    assert found.row("mine").rule == "half"


@pytest.mark.parametrize("rule", ["half", "single", "cross-validated", "exact-micro-f1", "macro-f1"])
def test_the_estimate_keeps_the_image_rules(rule):
    predictions = make_predictions(n_samples=200, n_labels=6)
    ensemble = StackingEnsemble("mean", image_rules=ImageRules(max_labels=1), rule=rule).fit(predictions)
    y_score, folds = ensemble.predict_proba(predictions), deal_folds(predictions.truth)
    decided = np.zeros(y_score.shape, dtype=bool)
    for fold in range(5):
        held = folds == fold
        decided[held] = ensemble.decide(y_score[held], tune_thresholds(y_score[~held], predictions.y_true[~held], rule))
    assert ensemble.report_["cross_fitted_micro_f1"] == pytest.approx(micro_f1(predictions.y_true, decided))


def test_the_classifier_keeps_the_image_rules_of_its_final_estimator(rng):
    features = rng.normal(size=(120, 4))
    truth = (features + rng.normal(size=(120, 4)) > 0).astype(np.uint8)
    final = StackingEnsemble("mean", image_rules=ImageRules(min_labels=1, max_labels=1))
    stack = StackingMultilabelClassifier([("linear", LogisticRegression())], final).fit(features, truth)
    assert (stack.predict(features).sum(axis=1) == 1).all()


# -- ties --------------------------------------------------------------------------------------------------------------


def test_what_only_rounding_tells_apart_is_a_tie():
    for gain in (1.0, 3.0, 0.1, 2.2, 1e-9, 7e12):
        values = np.array([gain, 0, 0, 0, 0])
        assert not exceeds(values.mean(), values.std(ddof=1) / np.sqrt(5))
    assert exceeds(1.0 + 1e-8, 1.0) and not exceeds(1.0 + 1e-12, 1.0)
    assert first_best([0.3, 0.1 + 0.2, 0.3]) == 0


def test_weights_keep_their_ratios_and_lose_their_unit():
    weight = np.array([3.0, 1.0, 2.0, 0.0])
    for scale in (1.0, 1e-6, 1e3, 1 / 3, 1e-300, 1e300):
        truth = Truth.check(np.ones((4, 1), np.uint8), sample_weight=weight * scale)
        assert truth.sample_weight.tolist() == [3.0, 1.0, 2.0, 0.0]
    assert Truth.check(np.ones((2, 1), np.uint8), sample_weight=[1e-200, 1e200]).sample_weight[0] == 1.0


# -- truths from which nothing can be learned --------------------------------------------------------------------------


def test_a_truth_without_a_known_cell_is_refused_wherever_something_is_learned():
    y_true, nothing = np.eye(20, 3, dtype=np.uint8), np.zeros((20, 3), bool)
    scores = np.random.default_rng(0).random((2, 20, 3)).astype(np.float32)
    part, weight = ~nothing, np.ones(20)
    part[:10], weight[10:] = False, 0  # the known cells are in rows of weight 0
    for metadata in ({"y_known": nothing}, {"y_known": part, "sample_weight": weight}):
        given = PredictionSet(
            scores, [f"s{row}" for row in range(20)], ["a", "b"], list("xyz"), y_true=y_true, **metadata
        )
        for learn in (
            lambda given=given: StackingEnsemble("mean").fit(given),
            lambda given=given: StackingEnsemble("auto").fit(given),
            lambda given=given: create_method("logistic").fit(given),
            lambda given=given: compare(given, ["mean"], n_splits=2),
            lambda metadata=metadata: tune_thresholds(scores[0], y_true, **metadata),
        ):
            with pytest.raises(ValueError, match="y_known must be True somewhere: got no known cell among 20 samples"):
                learn()
        known = PredictionSet(scores, [f"t{row}" for row in range(20)], ["a", "b"], list("xyz"), y_true=y_true)
        with pytest.raises(ValueError, match="y_known must be True somewhere"):
            compare(known, ["mean"], holdout=given)


def test_a_truth_without_positives_is_said():
    rng = np.random.default_rng(0)
    fitted = StackingEnsemble("mean", random_state=0).fit(rng.random((2, 30, 3)), np.zeros((30, 3)))
    assert any("no label has a positive" in note for note in fitted.report_["notes"])
    some = np.zeros((30, 3), np.uint8)
    some[::2, 0] = 1
    fitted = StackingEnsemble("mean", random_state=0).fit(rng.random((2, 30, 3)), some)
    assert not any("no label has a positive" in note for note in fitted.report_.get("notes", ()))


@pytest.mark.parametrize("missing", ["", " ", "nan", "NaN", "None", "NaT", "<NA>", None, float("nan"), pd.NA, pd.NaT])
@pytest.mark.parametrize("as_array", [False, True])
def test_every_spelling_of_a_missing_group_stands_alone(missing, as_array):
    groups = ["a", missing, "a", missing]
    given = np.array([str(group) for group in groups]) if as_array else groups
    numbers = Truth.check(np.ones((4, 1), np.uint8), groups=given).groups
    assert numbers.tolist() == [0, 1, 0, 2]


@pytest.mark.parametrize(
    "dates",
    [
        [pd.Timestamp("2020-01-01"), pd.NaT, pd.Timestamp("2020-01-01")],
        pd.to_datetime(pd.Series(["2020-01-01", None, "2020-01-01"])),
        np.array(["2020-01-01", "NaT", "2020-01-01"], dtype="M8[D]"),
        pd.DatetimeIndex(["2020-01-01", None, "2020-01-01"]),
    ],
    ids=["list", "series", "array", "index"],
)
def test_dates_are_groups(dates):
    assert Truth.check(np.ones((3, 1), np.uint8), groups=np.asarray(dates)).groups.tolist() == [0, 1, 0]
    given = PredictionSet(np.full((1, 3, 1), 0.5), list("abc"), ["m"], ["x"], y_true=[[0], [1], [0]])
    assert given.with_groups(dates).truth.groups.tolist() == [0, 1, 0]


@pytest.mark.parametrize("value", [{"a": 1}, {1, 2}, (1, 2), object(), 1j], ids=lambda value: type(value).__name__)
def test_what_has_no_text_is_no_group(value):
    groups = np.empty(3, dtype=object)
    groups[:] = ["a", value, "b"]
    kind = type(value).__name__
    with pytest.raises(TypeError, match=rf"groups must be integers, text or dates: got .*, a {kind}\."):
        check_groups(groups, 3)


def test_bytes_are_the_group_of_their_text():
    assert check_groups(["ä".encode(), "ä", b""], 3).tolist() == ["ä", "ä", ""]


def test_a_list_of_mappings_is_told_what_to_do():
    with pytest.raises(TypeError, match=r"groups must be .* got a list of mappings; make a data frame of them first"):
        labelstack.load(np.full((1, 3, 1), 0.5), truth=[[0], [1], [0]], groups=[{}, {}, {}])
