"""What scikit-learn users expect of a stack: cv, named parts, transform, and features that only the bases can read."""

from typing import ClassVar

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, LeaveOneOut, ShuffleSplit, StratifiedKFold, TimeSeriesSplit
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from stacking import StackingMultilabelClassifier
from stacking.combiners.multilabel_bases import fit_and_score
from stacking.folds import read_folds

X, Y = make_multilabel_classification(n_samples=90, n_features=6, n_classes=3, random_state=0)
X[:, 0] = np.arange(90)  # so that rows are known by it
BASES = [("logistic", LogisticRegression()), ("bayes", GaussianNB())]


class Recorder(LogisticRegression):
    """Remember how many rows each fit saw."""

    seen: ClassVar[list] = []

    def fit(self, X, y, sample_weight=None):
        Recorder.seen.append(np.sort(np.asarray(X)[:, 0]).tolist())
        return super().fit(X, y, sample_weight)


def held_out_of(stack_cv, **fit):
    Recorder.seen = []
    StackingMultilabelClassifier([("one", Recorder())], "mean", cv=stack_cv).fit(X, Y[:, 0], **fit)
    whole = sorted(X[:, 0])
    return [sorted(set(whole) - set(seen)) for seen in Recorder.seen[:-1]]


@pytest.mark.parametrize("kind", ["splitter", "pairs", "generator", "masks"])
def test_the_folds_are_those_that_were_given(kind):
    pairs = list(KFold(3, shuffle=True, random_state=5).split(X))
    masks = [(np.isin(np.arange(90), train), np.isin(np.arange(90), test)) for train, test in pairs]
    given = {
        "splitter": KFold(3, shuffle=True, random_state=5),
        "pairs": pairs,
        "generator": iter(pairs),
        "masks": masks,
    }
    assert held_out_of(given[kind]) == [sorted(X[test, 0]) for _, test in pairs]


def test_a_number_is_that_many_stratified_folds():
    assert len(held_out_of(4)) == 4
    by_cv = StackingMultilabelClassifier(BASES, "mean", cv=3).fit(X, Y)
    by_n_splits = StackingMultilabelClassifier(BASES, "mean", n_splits=3).fit(X, Y)
    np.testing.assert_array_equal(by_cv.thresholds_, by_n_splits.thresholds_)
    assert clone(StackingMultilabelClassifier(BASES, cv=KFold(3))).cv.n_splits == 3


def test_rows_of_weight_0_are_in_no_fold():
    weight = np.ones(90)
    weight[::9] = 0
    pairs = list(KFold(3).split(X))
    kept = [sorted(X[[row for row in test if weight[row]], 0]) for _, test in pairs]
    Recorder.seen = []
    StackingMultilabelClassifier([("one", Recorder())], "mean", cv=pairs).fit(X, Y[:, 0], sample_weight=weight)
    whole = set(X[weight > 0, 0])
    assert [sorted(whole - set(seen)) for seen in Recorder.seen[:-1]] == kept


def test_groups_reach_the_splitter_and_are_never_split():
    groups = np.arange(90) // 6
    folds = held_out_of(GroupKFold(3), groups=groups)
    assert [len(fold) for fold in folds] == [30, 30, 30]
    with pytest.raises(ValueError, match="cv must keep groups whole: it splits one of them"):
        held_out_of(KFold(3, shuffle=True, random_state=0), groups=groups)


@pytest.mark.parametrize(
    ("cv", "sentence"),
    [
        (1, "cv must be at least 2: got 1"),
        (ShuffleSplit(3, random_state=0), "cv must test every row once"),
        (TimeSeriesSplit(3), "cv must test every row once"),
        ([([0, 1], [2, 3])], "cv must test every row once"),
        ([(range(5, 60), range(60, 90)), (range(60, 90), range(60))], "train on all rows that it does not test"),
        (StratifiedKFold(3), "cv must be a number of folds, a splitter that takes this target"),
        (7.5, "cv must be a number of folds"),
        ([1, 2, 3], "cv must be a number of folds"),
    ],
)
def test_other_cv_is_refused(cv, sentence):
    with pytest.raises(ValueError, match=sentence):
        StackingMultilabelClassifier(BASES, "mean", cv=cv).fit(X, Y)


def test_one_row_a_fold_is_a_partition():
    assert read_folds(LeaveOneOut(), X[:4], Y[:4]).tolist() == [0, 1, 2, 3]


def test_parts_are_found_by_name():
    stack = StackingMultilabelClassifier([*BASES, ("gone", "drop")], "mean").fit(X, Y)
    assert list(stack.named_estimators_) == ["logistic", "bayes"]
    assert stack.named_estimators_.bayes is stack.estimators_[1] is stack.named_estimators_["bayes"]


def test_transform_gives_the_scores_of_the_bases_by_name():
    y = pd.DataFrame(Y, columns=["dress", "red", "hat"])
    stack = StackingMultilabelClassifier(BASES, "mean").fit(X, y)
    scores = stack.transform(X)
    assert scores.shape == (90, 6)
    np.testing.assert_array_equal(scores[:, 3:], stack.named_estimators_.bayes.predict_proba(X))
    names = ["logistic_dress", "logistic_red", "logistic_hat", "bayes_dress", "bayes_red", "bayes_hat"]
    assert stack.get_feature_names_out().tolist() == names
    shown = stack.set_output(transform="pandas").transform(X)
    assert shown.columns.tolist() == names
    np.testing.assert_array_equal(shown, scores)


def check_fits(bases, features, final="mean"):
    stack = StackingMultilabelClassifier(bases, final, cv=3).fit(features, Y)
    assert stack.predict(features).shape == Y.shape
    wanted = fit_and_score(bases[0][1], features, Y.astype(np.uint8), np.arange(90) < 30)
    assert np.isfinite(wanted).all()
    return stack


def test_gaps_go_through_to_bases_that_take_them():
    holes = np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)
    check_fits([("trees", HistGradientBoostingClassifier(max_iter=5))], holes)
    check_fits([("filled", make_pipeline(SimpleImputer(), LogisticRegression()))], holes)
    frame = pd.DataFrame(holes, columns=list("abcdef"))
    check_fits([("filled", make_pipeline(SimpleImputer(), LogisticRegression()))], frame)
    with pytest.raises(ValueError, match=r"Input X contains NaN, which LogisticRegression \('bare'\) does not take"):
        check_fits([("bare", LogisticRegression())], holes)


def test_nullable_columns_go_through():
    frame = pd.DataFrame(X.astype(int), columns=list("abcdef")).convert_dtypes()
    frame.loc[::7, "a"] = pd.NA
    trees = HistGradientBoostingClassifier(max_iter=5)
    check_fits([("trees", trees)], frame)
    check_fits([("filled", make_pipeline(SimpleImputer(), LogisticRegression()))], frame.astype("Float64"))


@pytest.mark.parametrize("container", [list, np.array, pd.Series])
def test_text_goes_through(container):
    words = np.array(["long red dress", "blue hat", "red hat and coat", "white shirt"])
    texts = container([str(words[row % 4]) for row in range(90)])
    check_fits([("text", make_pipeline(TfidfVectorizer(), LogisticRegression()))], texts)


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_with_text_and_numbers_go_through(library):
    columns = {"color": [["red", "blue", "green"][row % 3] for row in range(90)], "size": X[:, 0].tolist()}
    frame = pytest.importorskip(library).DataFrame(columns)
    encode = make_column_transformer((OneHotEncoder(), ["color"]), remainder="passthrough")
    stack = check_fits([("both", make_pipeline(encode, LogisticRegression()))], frame)
    if library == "pandas":
        assert stack.feature_names_in_.tolist() == ["color", "size"]
