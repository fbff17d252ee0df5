"""Whatever carries names is matched by them in every entry; what cannot be matched is refused in one sentence."""

import numpy as np
import pandas as pd
import pytest

from stacking import PredictionSet, SoftVoting, StackingEnsemble, WeightedVoting, compare, metrics, tune_thresholds
from stacking.combiners.registry import create_method
from stacking.decision_rules import ImageRules, apply_image_rules, apply_thresholds, rematch_thresholds
from stacking.folds import holdout_rows, stratified_group_folds
from stacking.predictions import StoreWriter, load_store
from stacking.testing import draw_scores

N = 60
IDS = [f"photo{i:02d}" for i in range(N)]
LABELS = ["dress", "red", "striped"]
MODELS = ["cnn", "vit"]
RNG = np.random.default_rng(0)
TRUTH = (RNG.random((N, 3)) < [0.2, 0.4, 0.6]).astype(int)
KNOWN = RNG.random((N, 3)) < 0.9
SCORES = draw_scores(TRUTH, np.ones(2), RNG, signal=3.0, offset=-1.5)
DECIDED = SCORES[0] > 0.4
WEIGHT = RNG.integers(1, 4, N).astype(float)
GROUPS = np.array([f"shop{i % 12:02d}" for i in range(N)])
LIMITS = np.array([0.3, 0.5, 0.6])
FREQUENCY = np.array([0.1, 0.3, 0.5])
AXES = {N: IDS, 3: LABELS, 2: MODELS}


def name(values, order=False):
    """Give values their names, in another order if asked: a frame of a matrix, a series of a vector."""
    shape = np.shape(values)
    names = [AXES[size] for size in shape]
    if len(shape) == 1:
        return pd.Series(values, index=names[0]).iloc[RNG.permutation(shape[0]) if order else slice(None)]
    frame = pd.DataFrame(values, index=names[0], columns=names[1])
    return frame.iloc[RNG.permutation(shape[0]), RNG.permutation(shape[1])] if order else frame


def predictions(**given):
    return PredictionSet(SCORES, IDS, MODELS, LABELS, **given)


def metadata_of(found):
    return {key: None if value is None else np.asarray(value).tolist() for key, value in found.metadata().items()}


def score_metrics(y_true, y_score, y_known, sample_weight):
    given = {"y_known": y_known, "sample_weight": sample_weight}
    found = [metrics.log_loss(y_true, y_score, **given), metrics.mean_average_precision(y_true, y_score, **given)]
    return [*found, metrics.recall_at_k(y_true, y_score, 1, **given)]


def decision_metrics(y_true, y_pred, y_known, sample_weight):
    given = {"y_known": y_known, "sample_weight": sample_weight}
    functions = ["micro_f1", "macro_f1", "samples_f1", "subset_accuracy", "hamming_loss", "micro_f1_counts"]
    found = [getattr(metrics, function)(y_true, y_pred, **given) for function in functions]
    return [*found, metrics.f1_per_label(y_true, y_pred, **given).tolist()]


def fit(y_true, groups=None):
    return StackingEnsemble("mean").fit(predictions(), y_true, groups=groups).report_["cross_fitted_micro_f1"]


def board(y_true, groups):
    found = compare(predictions(), ["mean"], y_true=y_true, groups=groups, n_bootstrap=5, n_splits=3)
    return found.table["score"].tolist()


def label_order():
    return StackingEnsemble("mean").fit(predictions(), TRUTH)


# What is given, and a function of it. With a prediction set every argument may stand in any order; without one the
# order is that of the first argument.
BESIDE_A_SET = {
    "PredictionSet": (lambda **given: metadata_of(predictions(**given)),
                      {"y_true": TRUTH, "y_known": KNOWN, "sample_weight": WEIGHT, "groups": GROUPS,
                       "folds": np.arange(N) % 3, "covers": np.ones((2, 3), bool), "train_frequency": FREQUENCY,
                       "label_groups": np.array(["kind", "color", "pattern"]),
                       "label_ids": np.array(["7", "12", "228"])}),
    "with_truth": (lambda **given: metadata_of(predictions().with_truth(**given)), {"y_true": TRUTH, "y_known": KNOWN}),
    "with_groups": (lambda groups: predictions().with_groups(groups).groups.tolist(), {"groups": GROUPS}),
    "ensemble": (fit, {"y_true": TRUTH, "groups": GROUPS}),
    "combiner": (lambda y_true: WeightedVoting().fit(predictions(), y_true).weights_.tolist(), {"y_true": TRUTH}),
    "compare": (board, {"y_true": TRUTH, "groups": GROUPS}),
    "out of fold": (lambda folds: WeightedVoting().predict_out_of_fold(predictions(y_true=TRUTH), folds=folds).tolist(),
                    {"folds": np.arange(N) % 3}),
    "blending": (lambda folds: create_method("pair-blend").fit_out_of_fold(predictions(y_true=TRUTH), folds=folds)[1]
                 .tolist(), {"folds": np.arange(N) % 3}),
    "weights": (lambda weights: SoftVoting(weights=weights).fit(predictions()).weights_.tolist(),
                {"weights": np.array([[0.1, 0.2, 0.3], [0.9, 0.8, 0.7]])}),
    "start": (lambda start: WeightedVoting("hill-climbing", optimizer_options={"n_iterations": 2}, start=start)
              .fit(predictions(y_true=TRUTH)).weights_.tolist(), {"start": np.array([0.2, 0.8])}),
    "costs": (lambda member_costs: WeightedVoting(member_costs=member_costs, max_cost=1.0)
              .fit(predictions(y_true=TRUTH)).weights_.tolist(), {"member_costs": np.array([5.0, 1.0])}),
    "decide": (lambda y_score, thresholds: label_order().decide(y_score, thresholds).sum(axis=0).tolist(),
               {"y_score": SCORES[0], "thresholds": LIMITS}),
}  # fmt: skip
ALONE = {
    "decision metrics": (decision_metrics,
                         {"y_true": TRUTH, "y_pred": DECIDED, "y_known": KNOWN, "sample_weight": WEIGHT}),
    "score metrics": (score_metrics,
                      {"y_true": TRUTH, "y_score": SCORES[0], "y_known": KNOWN, "sample_weight": WEIGHT}),
    "a metric by name": (lambda **given: metrics.find_metric("0.5*macro-f1+map")(**given),
                         {"y_true": TRUTH, "y_pred": DECIDED, "y_score": SCORES[0], "y_known": KNOWN,
                          "sample_weight": WEIGHT}),
    "constant answer": (metrics.constant_answer, {"y_true_train": TRUTH, "y_true_test": TRUTH * DECIDED}),
    "tune_thresholds": (lambda **given: tune_thresholds(**given).tolist(),
                        {"y_score": SCORES[0], "y_true": TRUTH, "y_known": KNOWN, "sample_weight": WEIGHT}),
    "tune on groups": (lambda **given: tune_thresholds(rule="cross-validated", **given).tolist(),
                       {"y_score": SCORES[0], "y_true": TRUTH, "groups": GROUPS}),
    "apply_thresholds": (lambda **given: apply_thresholds(**given).tolist(),
                         {"y_score": SCORES[0], "thresholds": LIMITS}),
    "image rules": (lambda **given: apply_image_rules(rules=ImageRules(exclusive_groups=("look",)), **given).tolist(),
                    {"y_score": SCORES[0], "thresholds": LIMITS, "label_groups": np.array(["kind", "look", "look"])}),
    "rematch": (lambda **given: rematch_thresholds(**given).tolist(),
                {"y_score": SCORES[0], "thresholds": LIMITS, "predicted_share": FREQUENCY}),
    "folds": (lambda **given: stratified_group_folds(n_splits=3, **given).tolist(),
              {"y_true": TRUTH, "groups": GROUPS}),
    "holdout": (lambda **given: holdout_rows(fraction=0.3, **given).tolist(), {"y_true": TRUTH, "groups": GROUPS}),
}  # fmt: skip


@pytest.mark.parametrize("entry", BESIDE_A_SET)
def test_beside_a_set_every_argument_goes_by_its_names(entry):
    call, arguments = BESIDE_A_SET[entry]
    right = call(**arguments)
    for argument, values in arguments.items():
        assert call(**arguments | {argument: name(values, order=True)}) == right, argument
    assert call(**{argument: name(values, order=True) for argument, values in arguments.items()}) == right


@pytest.mark.parametrize("entry", ALONE)
def test_without_a_set_the_first_argument_gives_the_order(entry):
    call, arguments = ALONE[entry]
    right = call(**arguments)
    first, *others = arguments
    given = {first: name(arguments[first])} | {argument: name(arguments[argument], order=True) for argument in others}
    assert call(**given) == right
    assert call(**arguments | {first: name(arguments[first])}) == right, "beside plain arrays the position decides"


def spoil(values, kind):
    """Give values names that do not fit."""
    named = name(values)
    axis = named.index if kind.startswith("row") else named.columns
    names = axis.tolist()
    names = {"renamed": [*names[:-1], "other"], "twice": [*names[:-1], names[0]]}.get(kind.split()[1], names)
    named = named.set_axis(names, axis=0 if kind.startswith("row") else 1)
    if kind == "row missing":
        return named.iloc[1:]
    if kind == "row added":
        return pd.concat([named, named.iloc[:1].set_axis(["other"])])
    return named


CASES = [
    (table, entry, argument)
    for table in (BESIDE_A_SET, ALONE)
    for entry, (_, arguments) in table.items()
    for argument in list(arguments)[table is ALONE :]
    if (entry, argument) not in [("constant answer", "y_true_test"), ("decide", "y_score")]  # new rows, of any name
]


@pytest.mark.parametrize(("table", "entry", "argument"), CASES, ids=[f"{case[1]}-{case[2]}" for case in CASES])
def test_names_that_do_not_fit_are_refused(table, entry, argument):
    call, arguments = table[entry]
    given = arguments if table is BESIDE_A_SET else {key: name(values) for key, values in arguments.items()}
    kinds = ["row missing", "row added", "row renamed", "row twice"]
    kinds += ["label renamed", "label twice"] if np.ndim(arguments[argument]) == 2 else []
    for kind in kinds:
        with pytest.raises((ValueError, TypeError), match=rf"{argument}.*(more than once|got \d+ (missing|unknown))"):
            call(**given | {argument: spoil(arguments[argument], kind)})


def test_scores_in_frames_go_by_name():
    frames = [name(matrix, order=True) for matrix in SCORES]
    by_model = dict(zip(MODELS, frames, strict=True))
    for given in (by_model, frames, {"vit": frames[1], "cnn": frames[0]}):
        found = PredictionSet(given, IDS, MODELS if isinstance(given, dict) else None, LABELS)
        assert found.to_array().tolist() == SCORES.tolist()
    found = PredictionSet(by_model, y_true=name(TRUTH, order=True))
    assert sorted(found.ids.tolist()) == IDS and sorted(found.labels) == LABELS and found.models == tuple(MODELS)
    assert found.ids.tolist() == frames[0].index.tolist()
    back = found.subset(samples=np.argsort(found.ids), labels=LABELS)
    assert back.to_array().tolist() == SCORES.tolist() and back.y_true.tolist() == TRUTH.tolist()


def test_a_fitted_ensemble_predicts_from_frames_by_name():
    ensemble = StackingEnsemble("greedy").fit(predictions(y_true=TRUTH))
    right = ensemble.predict_proba(SCORES)
    frames = [name(matrix).iloc[:, [2, 0, 1]] for matrix in SCORES]
    np.testing.assert_array_equal(ensemble.predict_proba({"vit": frames[1], "cnn": frames[0]}), right)
    np.testing.assert_array_equal(ensemble.predict_proba(frames), right)
    np.testing.assert_array_equal(ensemble.predict([frames[0], frames[1].iloc[::-1]]), ensemble.decide(right))
    with pytest.raises(ValueError, match="every fitted label: 'red' is missing"):
        ensemble.predict([frame.rename(columns={"red": "blue"}) for frame in frames])
    with pytest.raises(ValueError, match="every fitted member: 'vit' is missing"):
        ensemble.predict({"cnn": frames[0], "resnet": frames[1]})
    with pytest.raises(ValueError, match=r"must have the 60 rows of .*got 1 missing"):
        ensemble.predict({"cnn": frames[0], "vit": frames[1].iloc[1:]})


def test_names_of_the_truth_become_those_of_plain_arrays():
    ensemble = StackingEnsemble("mean").fit(SCORES, name(TRUTH))
    assert ensemble.labels_ == tuple(LABELS)
    assert ensemble.has_seen(IDS).all()
    right = ensemble.predict(SCORES)
    np.testing.assert_array_equal(ensemble.predict(PredictionSet(SCORES)), right)
    np.testing.assert_array_equal(ensemble.predict([name(matrix).iloc[:, ::-1] for matrix in SCORES]), right)


def test_row_numbers_say_nothing_unless_both_sides_have_them():
    counted = pd.DataFrame(TRUTH, columns=LABELS)
    assert truth(predictions(y_true=counted)) == TRUTH.tolist()
    part = predictions().subset(samples=np.arange(5, 20))
    assert truth(part.with_truth(pd.DataFrame(TRUTH[5:20]))) == TRUTH[5:20].tolist()
    assert metrics.micro_f1(counted.iloc[::-1], pd.DataFrame(DECIDED, columns=LABELS)) == metrics.micro_f1(
        TRUTH, DECIDED
    )
    with pytest.raises(ValueError, match=r"y_true must stand in the order of y_pred, .* in another order"):
        metrics.micro_f1(counted.iloc[::-1], DECIDED)
    with pytest.raises(ValueError, match="y_true must stand in the order of the predictions"):
        PredictionSet(SCORES, y_true=counted.iloc[::-1])
    with pytest.raises(ValueError, match=r"y_true must stand in the order of .* its labels"):
        PredictionSet(SCORES, y_true=pd.DataFrame(TRUTH)[[2, 1, 0]])
    some = counted.set_index(np.arange(N) + 100)  # numbers of rows that were picked from more
    assert truth(PredictionSet(SCORES, y_true=some)) == TRUTH.tolist()


def truth(found):
    return found.y_true.tolist()


def test_ids_of_any_kind_may_be_an_index():
    days = pd.date_range("2026-01-01", periods=N)
    truth_by_day = pd.DataFrame(TRUTH, index=days, columns=LABELS)
    decided = pd.DataFrame(DECIDED, index=days, columns=LABELS)
    assert metrics.micro_f1(truth_by_day, decided.iloc[::-1]) == metrics.micro_f1(TRUTH, DECIDED)
    assert PredictionSet(SCORES, y_true=truth_by_day).labels == tuple(LABELS)
    numbers = predictions().subset(samples=slice(None))
    by_number = PredictionSet(SCORES, ids=range(7, N + 7), labels=LABELS)
    frame = pd.DataFrame(TRUTH, index=range(7, N + 7), columns=LABELS)
    assert truth(by_number.with_truth(frame.iloc[::-1])) == TRUTH.tolist()
    assert numbers.labels == tuple(LABELS)


def test_models_may_lack_labels_and_it_is_said():
    frames = {"cnn": name(SCORES[0]), "vit": name(SCORES[1]).drop(columns="red")}
    with pytest.warns(UserWarning, match=r"different labels, such as 'red' of y_scores\['vit'\]"):
        found = PredictionSet(frames)
    assert found.covers.tolist() == [[True, True, True], [True, False, True]]
    given = PredictionSet(name(SCORES[0]).drop(columns="red"), labels=LABELS)
    assert given.covers.tolist() == [[True, False, True]]
    with pytest.raises(ValueError, match=r"y_scores must have the 3 labels of labels: .*unknown, such as 'blue'"):
        PredictionSet(name(SCORES[0]).rename(columns={"red": "blue"}), labels=LABELS)


@pytest.mark.parametrize(("given", "message"), [
    ({"dress": [1, 0], "red": [0, 1]}, "y_true must be an array or a data frame: got a dict of columns"),
    ([pd.Series([1, 0]), pd.Series([0, 1])], "y_true must be one array or one data frame: got a list of objects"),
    (pd.concat({"a": pd.DataFrame([[1, 0]])}, axis=1), "y_true must have one level of column names"),
])  # fmt: skip
def test_what_cannot_be_read_by_name_is_refused(given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        metrics.micro_f1(given, [[1, 0], [0, 1]])


@pytest.mark.parametrize(("given", "message"), [
    ({}, "y_scores must hold at least one model"),
    ({"cnn": np.zeros(3)}, r"y_scores must hold one matrix .* per model: got shape \(3,\) for y_scores\['cnn'\]"),
    ({"cnn": np.zeros((2, 3)), "vit": np.zeros((2, 2))}, r"matrices of one shape: got \(2, 3\) and \(2, 2\)"),
    ([name(SCORES[0]), SCORES[1][:, :2]], "matrices of one shape"),
    ([name(SCORES[0]), name(SCORES[1]).set_axis(["dress", "dress", "red"], axis=1)], "every label once: got 'dress'"),
])  # fmt: skip
def test_scores_that_do_not_fit_each_other_are_refused(given, message):
    with pytest.raises(ValueError, match=message):
        PredictionSet(given)


def test_masks_over_samples_go_by_their_index():
    found = predictions()
    wanted = pd.Series(np.arange(N) < 5, index=IDS).iloc[::-1]
    for mask in (wanted, wanted.astype("boolean"), wanted.astype("bool[pyarrow]"), (np.arange(N) < 5).tolist()):
        assert found.subset(samples=mask).ids.tolist() == IDS[:5]
    assert found.subset(labels=pd.Series([True, False, True], index=LABELS[::-1])).labels == ("dress", "striped")
    assert found.subset(labels=pd.Series(["red"], index=["any"])).labels == ("red",)
    with pytest.raises(ValueError, match="samples must have the 60 rows of the predictions"):
        found.subset(samples=wanted.iloc[1:])
    for masked in (
        np.ma.masked_array(np.arange(N) < 5, mask=np.arange(N) == 3),
        np.ma.masked_array([1, 2], mask=[1, 0]),
    ):
        with pytest.raises(ValueError, match="samples must not hold masked values"):
            found.subset(samples=masked)


def test_a_holdout_without_names_is_refused():
    with pytest.raises(TypeError, match=r"holdout must be a PredictionSet, .* got ndarray"):
        compare(predictions(y_true=TRUTH), ["mean"], holdout=SCORES)


def test_mappings_need_names_on_the_other_side():
    named = predictions(
        groups=dict(zip(IDS[::-1], GROUPS[::-1], strict=True)), label_groups={"red": "b", "dress": "a", "striped": "c"}
    )
    assert named.groups.tolist() == GROUPS.tolist() and named.label_groups == ("a", "b", "c")
    weight = dict(zip(IDS, WEIGHT, strict=True))
    right = metrics.micro_f1(TRUTH, DECIDED, sample_weight=WEIGHT)
    assert metrics.micro_f1(name(TRUTH), DECIDED, sample_weight=weight) == right
    with pytest.raises(
        ValueError, match="sample_weight must be an array here: got a mapping, and nothing else names the rows"
    ):
        metrics.micro_f1(TRUTH, DECIDED, sample_weight=weight)
    with pytest.raises(ValueError, match="label_groups must be an array here: got a mapping"):
        PredictionSet(SCORES, label_groups={"red": "b", "dress": "a", "striped": "c"})


def test_a_store_takes_frames_by_name(tmp_path):
    with StoreWriter(tmp_path / "store", IDS, MODELS, LABELS) as writer:
        writer.write("cnn", slice(0, N), name(SCORES[0], order=True))
        first = pd.Series(np.arange(N) < 30, index=IDS)
        writer.write("vit", first.iloc[::-1], name(SCORES[1]).iloc[29::-1, [2, 0, 1]])
        with pytest.raises(ValueError, match="y_score must have the 30 rows of the predictions"):
            writer.write("vit", ~first, name(SCORES[1]).iloc[:30])
        writer.write("vit", np.arange(30, N), SCORES[1][30:])
    np.testing.assert_array_equal(load_store(tmp_path / "store").to_array(), SCORES)
