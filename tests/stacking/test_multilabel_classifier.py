"""StackingMultilabelClassifier: scikit-learn's own checks, forms of bases and targets, one-class folds, groups."""

import pickle

import numpy as np
import pandas as pd
import pytest
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.metrics import f1_score
from sklearn.model_selection import GridSearchCV, GroupKFold, PredefinedSplit, cross_val_predict
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import estimator_checks

from stacking import SoftVoting, StackingEnsemble, StackingMultilabelClassifier, WeightedVoting
from stacking.folds import stratified_group_folds
from stacking.metrics import find_metric, micro_f1

BASES = [("tree", DecisionTreeClassifier(max_depth=3, random_state=0)), ("bayes", GaussianNB())]
STACKS = [
    StackingMultilabelClassifier(BASES, SoftVoting(), n_splits=3),
    StackingMultilabelClassifier([("tree", DecisionTreeClassifier(max_depth=3, random_state=0))], n_splits=3),
]


class DecisionsOnly(DecisionTreeClassifier):
    """A classifier of one label that answers decisions and no scores."""

    predict_proba = property()

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label, tags.target_tags.multi_output = False, False
        return tags


@pytest.fixture
def data():
    X, y = make_multilabel_classification(n_samples=240, n_features=12, n_classes=4, random_state=3)
    return X[:160], y[:160], X[160:], y[160:]


@estimator_checks.parametrize_with_checks(STACKS)
def test_passes_the_checks_of_scikit_learn(estimator, check):
    check(estimator)


@pytest.mark.parametrize(
    "check",
    [
        estimator_checks.check_classifiers_multilabel_representation_invariance,
        estimator_checks.check_classifiers_multilabel_output_format_predict,
        estimator_checks.check_classifiers_multilabel_output_format_predict_proba,
        estimator_checks.check_classifiers_multilabel_output_format_decision_function,
    ],
    ids=lambda check: check.__name__,
)
def test_passes_the_multilabel_checks_of_scikit_learn(check):
    check("StackingMultilabelClassifier", StackingMultilabelClassifier(BASES, SoftVoting(), n_splits=3))


@pytest.mark.parametrize(
    "base",
    [
        RandomForestClassifier(n_estimators=10, random_state=0),  # a list of arrays
        KNeighborsClassifier(),
        MLPClassifier(hidden_layer_sizes=8, solver="lbfgs", max_iter=3000, random_state=0),  # one array
        LogisticRegression(),  # one label at a time
        RidgeClassifier(),  # many labels, decision function only
        LinearSVC(),  # one label at a time, decision function only
        MultiOutputClassifier(GaussianNB()),
        ClassifierChain(LogisticRegression()),
        make_pipeline(StandardScaler(), LogisticRegression()),
        OneVsRestClassifier(LinearSVC()),
        GridSearchCV(LogisticRegression(), {"C": [0.1, 1.0]}, cv=2),
        DecisionsOnly(max_depth=3, random_state=0),
    ],
    ids=lambda base: type(base).__name__,
)
@pytest.mark.parametrize("n_labels", [2, 4])
def test_stacks_every_form_of_base_better_than_a_constant(data, base, n_labels):
    X, y, X_new, y_new = data
    stack = StackingMultilabelClassifier([("base", base), *BASES], SoftVoting(), n_splits=3)
    stack.fit(X, y[:, :n_labels])
    scores = stack.predict_proba(X_new)
    assert scores.shape == (len(X_new), n_labels)
    assert ((scores >= 0) & (scores <= 1)).all()
    constant = micro_f1(y_new[:, :n_labels], np.ones((len(X_new), n_labels), bool))
    assert micro_f1(y_new[:, :n_labels], stack.predict(X_new).astype(bool)) > constant


def test_a_label_with_one_value_is_answered_by_that_constant(data):
    X, y, X_new, _ = data
    y = y.copy()
    y[:, 1] = 0
    y[:, 2] = 1
    y[:, 3] = 0
    y[5, 3] = 1  # one positive: absent from two of three training folds' complements
    stack = StackingMultilabelClassifier([("one", LogisticRegression()), *BASES], SoftVoting(), n_splits=3).fit(X, y)
    scores = stack.predict_proba(X_new)
    assert (scores[:, 1] < 0.01).all()
    assert (scores[:, 2] > 0.99).all()
    assert np.isfinite(scores).all()


def test_the_default_final_estimator_is_the_automatic_ensemble(data):
    X, y, X_new, y_new = data
    stack = StackingMultilabelClassifier(BASES, n_splits=3).fit(X, y)
    assert isinstance(stack.final_estimator_, StackingEnsemble)
    single = max(
        micro_f1(y_new, StackingMultilabelClassifier([base], SoftVoting()).fit(X, y).predict(X_new).astype(bool))
        for base in BASES
    )
    assert micro_f1(y_new, stack.predict(X_new).astype(bool)) > single - 0.05


def test_data_frames_and_sparse_matrices_give_the_answers_of_arrays(data):
    X, y, X_new, _ = data
    columns = [f"x{j}" for j in range(X.shape[1])]
    stack = StackingMultilabelClassifier(BASES, SoftVoting(), n_splits=3)
    expected = stack.fit(X, y).predict_proba(X_new)
    frame = stack.fit(pd.DataFrame(X, columns=columns), pd.DataFrame(y, columns=list("abcd")))
    assert frame.labels_ == ("a", "b", "c", "d")
    assert list(frame.feature_names_in_) == columns
    np.testing.assert_allclose(frame.predict_proba(pd.DataFrame(X_new, columns=columns)), expected)
    sparse = StackingMultilabelClassifier([("tree", BASES[0][1])], SoftVoting()).fit(csr_array(X), y)
    assert sparse.predict(csr_array(X_new)).shape == (80, 4)


@pytest.mark.parametrize("metric", ["micro-f1", "macro-f1", "log-loss"])
def test_score_is_the_metric_that_was_asked_for(data, metric):
    X, y, X_new, y_new = data
    stack = StackingMultilabelClassifier(BASES, SoftVoting(), n_splits=3, metric=metric).fit(X, pd.DataFrame(y))
    if metric == "log-loss":
        expected = -find_metric(metric)(y_new, stack.predict_proba(X_new))
    else:
        expected = f1_score(y_new, stack.predict(X_new), average=metric.removesuffix("-f1"), zero_division=0)
    assert stack.score(X_new, y_new) == pytest.approx(expected)
    assert stack.score(X_new, pd.DataFrame(y_new)[[2, 0, 1, 3]]) == pytest.approx(expected)  # by name
    assert stack.score(X_new, csr_array(y_new)) == pytest.approx(expected)
    alone = StackingMultilabelClassifier(BASES, SoftVoting(), n_splits=3, metric=metric).fit(X, y[:, 0])
    assert alone.score(X_new, y_new[:, 0]) == (alone.predict(X_new) == y_new[:, 0]).mean()


@pytest.mark.parametrize("metric", ["micro-f1", "log-loss"])
@pytest.mark.parametrize("n_targets", [1, 4])
def test_score_matches_rows_by_name_as_fit_does(data, metric, n_targets):
    X, y, X_new, y_new = data
    names = [f"photo{i}" for i in range(len(X_new))]
    features = pd.DataFrame(X_new, index=names)
    target = pd.DataFrame(y_new, index=names) if n_targets > 1 else pd.Series(y_new[:, 0], index=names)
    weight = pd.Series(np.arange(len(names)) % 3 + 1.0, index=names)
    stack = StackingMultilabelClassifier(BASES, SoftVoting(), n_splits=3, metric=metric)
    stack.fit(pd.DataFrame(X), y if n_targets > 1 else y[:, 0])
    expected = stack.score(features, target, weight)
    assert stack.score(features, target.sample(frac=1, random_state=0), weight[::-1]) == pytest.approx(expected)
    with pytest.raises(ValueError, match="must have the 80 rows of X: got 80 missing, such as 'photo0'"):
        stack.score(features, target.set_axis([f"other{i}" for i in range(len(names))]))
    numbered = target.set_axis(np.random.default_rng(0).permutation(len(names)))  # as train_test_split leaves them
    assert stack.score(X_new, numbered, weight.to_numpy()) == pytest.approx(expected)


def test_grouped_rows_do_not_leak(rng):
    """Copies of a row share a group: a memorizing base is worth nothing when its copies are held out together."""
    X = np.repeat(rng.normal(size=(60, 5)), 4, axis=0)
    y = np.repeat(rng.integers(0, 2, size=(60, 3)), 4, axis=0)
    groups = np.repeat(np.arange(60), 4)
    bases = [("memory", KNeighborsClassifier(1)), ("bayes", GaussianNB())]
    stack = StackingMultilabelClassifier(bases, WeightedVoting("slsqp", "log-loss"))
    assert stack.fit(X, y).final_estimator_.weights_[0].min() > 0.9  # its copies give it away
    assert stack.fit(X, y, groups=groups).final_estimator_.weights_[0].max() < 0.9


def test_parallel_fits_give_the_same_answer(data):
    X, y, X_new, _ = data
    one = StackingMultilabelClassifier(BASES, SoftVoting(), n_splits=3).fit(X, y).predict_proba(X_new)
    two = StackingMultilabelClassifier(BASES, SoftVoting(), n_splits=3, n_jobs=2).fit(X, y).predict_proba(X_new)
    np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("final", ["ridge-context", LogisticRegression(), RandomForestClassifier(20, random_state=0)])
def test_every_kind_of_final_estimator_beats_the_better_base(data, final):
    X, y, X_new, y_new = data
    stack = StackingMultilabelClassifier(BASES, final, n_splits=3).fit(X, y)
    alone = [
        micro_f1(y_new, StackingMultilabelClassifier([base], SoftVoting()).fit(X, y).predict(X_new).astype(bool))
        for base in BASES
    ]
    assert micro_f1(y_new, stack.predict(X_new).astype(bool)) > max(alone) - 0.03
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(stack)).predict_proba(X_new), stack.predict_proba(X_new))


def test_a_final_classifier_is_what_scikit_learn_would_fit(data):
    """One label, so that scikit-learn's own stack runs; the same folds give the same level-one features."""
    X, y, X_new, _ = data
    final = LogisticRegression()
    stack = StackingMultilabelClassifier(BASES, final, n_splits=3).fit(X, y[:, 0])
    folds = stratified_group_folds(y[:, :1], 3, random_state=0)
    reference = StackingClassifier(BASES, final, cv=PredefinedSplit(folds), stack_method="predict_proba")
    reference.fit(X, y[:, 0])
    np.testing.assert_allclose(stack.predict_proba(X_new), reference.predict_proba(X_new), atol=1e-4)


def test_a_final_classifier_is_not_saved_as_plain_files(data):
    X, y, *_ = data
    stack = StackingMultilabelClassifier(BASES, LogisticRegression(), n_splits=3).fit(X, y)
    with pytest.raises(ValueError, match="cannot be saved as plain files: pickle the stack"):
        stack.final_estimator_._state()


def test_parameters_of_the_bases_are_reached_by_name(data):
    X, y, X_new, _ = data
    stack = StackingMultilabelClassifier(BASES, SoftVoting(), n_splits=3)
    assert stack.get_params()["tree__max_depth"] == 3
    search = GridSearchCV(stack, {"tree__max_depth": [1, 6], "bayes": ["drop"]}, cv=2, scoring="f1_micro").fit(X, y)
    assert len(search.best_estimator_.estimators_) == 1
    alone = StackingMultilabelClassifier([("tree", clone(BASES[0][1]))], SoftVoting(), n_splits=3)
    alone.set_params(tree__max_depth=search.best_params_["tree__max_depth"])
    np.testing.assert_array_equal(search.predict(X_new), alone.fit(X, y).predict(X_new))
    assert BASES[0][1].max_depth == 3
    assert clone(stack).get_params()["bayes__var_smoothing"] == stack.get_params()["bayes__var_smoothing"]


def test_works_inside_a_pipeline_and_cross_validation(data):
    X, y, *_ = data
    groups = np.arange(len(X)) // 2
    whole = make_pipeline(StandardScaler(), StackingMultilabelClassifier(BASES, SoftVoting(), n_splits=3))
    for method in ("predict", "predict_proba"):
        answer = cross_val_predict(whole, X, y, cv=GroupKFold(3), groups=groups, method=method)
        assert answer.shape == y.shape
        assert np.corrcoef(answer.ravel(), y.ravel())[0, 1] > 0.3
    given = {"stackingmultilabelclassifier__groups": groups}
    assert cross_val_predict(whole, X, y, cv=3, params=given).shape == y.shape


def test_sample_weights_count_rows(data):
    """Bases that learn from counts: weight 2 is the row twice, weight 0 the row absent."""
    X, y, X_new, _ = data
    weight = np.random.default_rng(0).integers(0, 3, size=len(X))
    stack = StackingMultilabelClassifier(BASES, SoftVoting(), n_splits=3)
    weighted = stack.fit(X, y, sample_weight=weight).predict_proba(X_new)
    repeated = stack.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight, axis=0)).predict_proba(X_new)
    np.testing.assert_allclose(weighted, repeated, atol=1e-6)
    assert np.abs(weighted - stack.fit(X, y).predict_proba(X_new)).max() > 0.01


def test_sample_weights_reach_the_last_step_of_a_pipeline_and_the_thresholds(data):
    X, y, X_new, _ = data
    weight = np.where(y[:, 0] == 1, 20.0, 1.0)
    bases = [("scaled", make_pipeline(StandardScaler(), LogisticRegression()))]
    stack = StackingMultilabelClassifier(bases, SoftVoting(), n_splits=3)
    plain, plain_cuts = stack.fit(X, y).predict_proba(X_new), stack.thresholds_
    heavy, heavy_cuts = stack.fit(X, y, sample_weight=weight).predict_proba(X_new), stack.thresholds_
    assert heavy[:, 0].mean() > plain[:, 0].mean() + 0.1
    assert (heavy_cuts != plain_cuts).any()


def test_bases_without_sample_weights_are_named(data):
    X, y, *_ = data
    stack = StackingMultilabelClassifier([("near", KNeighborsClassifier()), *BASES], SoftVoting(), n_splits=3)
    with pytest.warns(UserWarning, match="sample_weight does not reach 'near': they take none"):
        stack.fit(X, y, sample_weight=np.ones(len(X)))
    with pytest.raises(TypeError, match="fit takes groups and sample_weight beside X and y: got weights"):
        stack.fit(X, y, weights=np.ones(len(X)))
    with pytest.raises(ValueError, match="Negative values"):
        stack.set_params(near="drop").fit(X, y, sample_weight=-np.ones(len(X)))


def test_very_few_rows_are_decided_at_one_half(data):
    X, y, X_new, _ = data
    stack = StackingMultilabelClassifier(BASES, StackingEnsemble("mean", rule="single"), n_splits=3)
    stack.fit(X[:49], y[:49])
    np.testing.assert_array_equal(stack.predict(X_new), stack.predict_proba(X_new).round())
    assert (stack.fit(X[:60], y[:60]).thresholds_ != 0.5).any()


def test_a_sparse_target_is_its_dense_one(data):
    X, y, X_new, _ = data
    stack = StackingMultilabelClassifier(BASES, SoftVoting(), n_splits=3)
    np.testing.assert_array_equal(stack.fit(X, csr_array(y)).predict(X_new), stack.fit(X, y).predict(X_new))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"estimators": [BASES[0], ("line", LinearRegression())]}, r"must be classifiers: got LinearRegression\(\)"),
        ({"estimators": [BASES[0], ("three", 3)]}, "must be classifiers: got 3 under the name 'three'"),
        ({"estimators": [("a__b", GaussianNB())]}, "must not contain __"),
        ({"final_estimator": "ridge-contxt"}, "Did you mean 'ridge-context'"),
        ({"final_estimator": LinearRegression()}, "final_estimator must be the name of a method, a combiner"),
        ({"estimators": []}, "estimators must hold at least one"),
        ({"estimators": [BASES[0], BASES[0]]}, "must have different names"),
        ({"n_splits": 1}, "n_splits must be at least 2"),
    ],
)
def test_bad_parameters_are_refused(data, change, message):
    X, y, *_ = data
    with pytest.raises(ValueError, match=message):
        StackingMultilabelClassifier(BASES).set_params(**change).fit(X, y)


def test_a_multiclass_target_is_refused(data):
    X, *_ = data
    with pytest.raises(ValueError, match="Only binary classification is supported"):
        StackingMultilabelClassifier(BASES).fit(X, np.arange(len(X)) % 3)
    with pytest.raises(ValueError, match="y must hold only 0 and 1: got 2"):
        StackingMultilabelClassifier(BASES).fit(X, np.column_stack([np.arange(len(X)) % 3] * 2))
