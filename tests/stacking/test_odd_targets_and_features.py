"""The classifier takes what scikit-learn's own take, by name, and says what is wrong before a base is fitted."""

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.datasets import make_multilabel_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from stacking import StackingEnsemble, StackingMultilabelClassifier
from stacking.decision_rules import ImageRules

X, Y = make_multilabel_classification(90, n_features=6, n_classes=3, random_state=0)
IDS = [f"photo{i:02d}" for i in range(len(X))]
LABELS = ["dress", "red", "striped"]


class Counting(DecisionTreeClassifier):
    """A tree that counts how often any was fitted."""

    fits = 0

    def fit(self, *arguments, **options):
        Counting.fits += 1
        return super().fit(*arguments, **options)


def stack(*bases, final="mean", **options):
    return StackingMultilabelClassifier([(f"base{i}", base) for i, base in enumerate(bases)], final, **options)


def tree():
    return DecisionTreeClassifier(max_depth=3, random_state=0)


def test_targets_groups_and_weights_go_by_the_index_of_the_features():
    features = pd.DataFrame(X, index=IDS)
    target = pd.DataFrame(Y, index=IDS, columns=LABELS)
    groups, weight = pd.Series(np.arange(90) // 3, index=IDS), pd.Series(np.arange(90) % 3 + 1.0, index=IDS)
    order = np.random.default_rng(0).permutation(90)
    right = stack(tree()).fit(X, Y, groups=groups.to_numpy(), sample_weight=weight.to_numpy())
    found = stack(tree()).fit(
        features, target.iloc[order], groups=groups.iloc[order], sample_weight=weight.iloc[order[::-1]]
    )
    assert found.labels_ == tuple(LABELS)
    np.testing.assert_array_equal(found.predict_proba(features), right.predict_proba(X))
    one = stack(tree()).fit(features, pd.Series(np.where(Y[:, 0], "yes", "no"), index=IDS).iloc[order])
    assert (one.predict(features) == np.where(Y[:, 0], "yes", "no")).mean() > 0.8


def test_an_index_of_row_numbers_is_no_name_beside_other_names():
    right = stack(tree()).fit(X, Y).predict_proba(X)
    target = pd.DataFrame(Y, columns=LABELS)
    for features in (X, pd.DataFrame(X, index=IDS), pd.DataFrame(X)):
        np.testing.assert_array_equal(stack(tree()).fit(features, target).predict_proba(features), right)
    order = np.random.default_rng(1).permutation(90)  # shuffled together, as with sklearn.utils.shuffle
    for features, shuffled in ((X[order], target.iloc[order]), (pd.DataFrame(X).iloc[order], Y[order])):
        found = stack(tree(), n_splits=3).fit(features, shuffled, groups=np.arange(90) // 2)
        right = stack(tree(), n_splits=3).fit(X[order], Y[order], groups=np.arange(90) // 2)
        np.testing.assert_array_equal(found.predict_proba(X), right.predict_proba(X))
    picked = np.repeat(IDS[:45], 2)  # a bootstrap sample: the same names in the same order on both sides
    stack(tree()).fit(pd.DataFrame(X, index=picked), target.set_axis(picked))


@pytest.mark.parametrize(("change", "message"), [
    (lambda frame: frame.iloc[1:], "y must have the 90 rows of X: got 1 missing, such as 'photo00'"),
    (lambda frame: frame.rename(index={"photo00": "other"}), "1 missing, such as 'photo00' and 1 unknown"),
    (lambda frame: frame.set_axis(["photo01", *IDS[1:]]), "y must name every row once: got 'photo01'"),
    (lambda frame: frame.set_axis(["dress", "dress", "red"], axis=1), "labels.* must be unique: got 'dress' 2 times"),
    (lambda frame: frame.set_axis(["dress", "", "red"], axis=1), "labels.* must not be empty strings"),
    (lambda frame: frame.set_axis(pd.Index(["dress", "\ud800", "red"], dtype=object), axis=1),
     "labels.* can be written as UTF-8"),
    (lambda frame: np.ma.masked_array(frame, mask=frame == 1), "y must not hold masked values"),
    (lambda frame: frame * 256, "recode the values 0, 256"),
    (lambda frame: dict(frame), "y must be an array or a data frame: got a dict"),
])  # fmt: skip
def test_targets_that_do_not_fit_are_refused_before_any_fit(change, message):
    Counting.fits = 0
    with pytest.raises((ValueError, TypeError), match=message):
        stack(Counting()).fit(pd.DataFrame(X, index=IDS), change(pd.DataFrame(Y, index=IDS, columns=LABELS)))
    assert Counting.fits == 0


@pytest.mark.parametrize(("options", "arguments", "message"), [
    ({"final": "averge"}, {}, "method must be one of .*Did you mean 'average|method must be one of"),
    ({"final": StackingEnsemble("mean", rule="singel")}, {}, "rule must be one of .*Did you mean 'single'"),
    ({"final": StackingEnsemble("mean", image_rules=ImageRules(min_labels=5))}, {}, "min_labels"),
    ({"final": StackingEnsemble("mean", image_rules=ImageRules(exclusive_groups=("look",)))}, {}, "'look' must be"),
    ({"final": 3}, {}, "final_estimator must be"),
    ({"n_splits": 1}, {}, "n_splits must be at least 2"),
    ({}, {"groups": np.arange(80)}, r"groups must hold one value per sample: got shape \(80,\)"),
    ({}, {"groups": np.zeros(90, int)}, "groups must .*: got"),
    ({}, {"groups": pd.Series(np.arange(90), index=[*IDS[:-1], "other"])}, "groups must have the 90 rows of X"),
    ({}, {"groups": np.arange(90.0) + 0.5}, "groups must be"),
    ({}, {"sample_weight": -np.ones(90)}, "(?i)negative"),
    ({}, {"sample_weight": pd.Series(np.ones(89), index=IDS[1:])}, "sample_weight must have the 90 rows of X"),
])  # fmt: skip
def test_what_can_be_checked_is_checked_before_any_fit(options, arguments, message):
    Counting.fits = 0
    with pytest.raises((ValueError, TypeError), match=message):
        stack(Counting(), **options).fit(pd.DataFrame(X, index=IDS), Y, **arguments)
    assert Counting.fits == 0


@pytest.mark.parametrize("names", [("a", ""), ("a", "a"), ("a", "n_splits"), ("a", "b\ud800")])
def test_names_of_bases_are_checked_before_any_fit(names):
    Counting.fits = 0
    with pytest.raises((ValueError, TypeError), match=r"(?i)name"):
        StackingMultilabelClassifier([(name, Counting()) for name in names], "mean").fit(X, Y)
    assert Counting.fits == 0


@pytest.mark.parametrize("base", [
    MultiOutputClassifier(LogisticRegression()),
    ClassifierChain(LogisticRegression()),
    make_pipeline(StandardScaler(), MultiOutputClassifier(tree())),
    make_pipeline(StandardScaler(), make_pipeline(ClassifierChain(tree()))),
    GridSearchCV(MultiOutputClassifier(tree()), {"estimator__max_depth": [1, 2]}, cv=2),
    MultiOutputClassifier(KNeighborsClassifier()),
], ids=["multi-output", "chain", "in a pipeline", "in two", "in a search", "neighbors"])  # fmt: skip
@pytest.mark.filterwarnings("ignore:sample_weight does not reach")
def test_bases_of_several_outputs_take_one_label(base):
    rare = Y.copy()
    rare[:, 1:] = 0
    rare[7, 1] = 1  # absent from the training rows of one fold; the third label never varies
    for target in (rare, Y[:, 0], Y[:, :1]):
        found = stack(base, tree(), n_splits=3).fit(X, target, sample_weight=np.ones(90))
        assert found.predict(X).shape == (target[:, 0].shape if target.shape[-1] == 1 else target.shape)
        assert found.estimators_[0].predict_proba(X)[:, 0].std() > 0.1
    final = stack(tree(), tree(), final=base, n_splits=3).fit(X, rare)
    assert final.predict_proba(X).shape == rare.shape


class TakesGaps(ClassifierMixin, BaseEstimator):
    """A classifier of somebody else's that takes NaN without saying so."""

    def fit(self, X, y):
        self.classes_, self.share_ = np.unique(y), y.mean()
        return self

    def predict_proba(self, X):
        return np.tile([1 - self.share_, self.share_], (len(X), 1))


def test_gaps_are_left_to_bases_that_may_take_them():
    gaps = X.astype(float)
    gaps[::7, 0] = np.nan
    bases = [
        HistGradientBoostingClassifier(max_iter=2),
        make_pipeline(SimpleImputer(), LogisticRegression()),
        tree(),
        TakesGaps(),
    ]
    found = stack(*bases, n_splits=2).fit(gaps, Y)
    assert found.predict(gaps).shape == Y.shape
    Counting.fits = 0
    with pytest.raises(ValueError, match=r"Input X contains NaN, which LogisticRegression \('base1'\) does not take"):
        stack(Counting(), LogisticRegression()).fit(gaps, Y)
    gaps[0, 0] = np.inf
    with pytest.raises(ValueError, match="Input X contains NaN, which Logistic"):
        stack(Counting(), LogisticRegression()).fit(gaps, Y)
    assert Counting.fits == 0
    with pytest.raises(ValueError, match="X must not hold masked values"):
        stack(Counting()).fit(np.ma.masked_invalid(gaps), Y)


def test_text_is_left_to_bases_that_read_it():
    texts = [" ".join(np.array(["red", "long", "dress", "shirt"])[row[:4] > 3]) or "none" for row in X]
    read = make_pipeline(TfidfVectorizer(), LogisticRegression())
    right = stack(read, n_splits=3).fit(np.array(texts, dtype=object), Y).predict_proba(texts)
    for given in (texts, np.array(texts), pd.Series(texts), pd.Series(texts, index=IDS)):
        np.testing.assert_allclose(stack(read, n_splits=3).fit(given, Y).predict_proba(given), right)
    table = np.array([[text, "x"] for text in texts], dtype=object)
    coded = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    assert stack(coded, n_splits=3).fit(table, Y).predict(table).shape == Y.shape
    with pytest.raises(ValueError, match="could not convert string to float"):
        stack(LogisticRegression()).fit(table, Y)


@pytest.mark.parametrize("n_groups", [2, 3, 5, 6])
def test_few_groups_make_fewer_folds(n_groups):
    found = stack(tree()).fit(X, Y, groups=np.arange(90) % n_groups)
    assert found.predict(X).shape == Y.shape


def test_two_rows_are_enough_and_one_is_refused():
    assert stack(tree()).fit(X[:2], Y[:2]).predict(X[:2]).shape == (2, 3)
    with pytest.raises(ValueError, match="at least 2 samples"):
        stack(tree()).fit(X[:1], Y[:1])


def test_gaps_of_a_target_are_to_be_left_out():
    """There is no y_known in scikit-learn's interface."""
    features, gaps = np.random.default_rng(0).normal(size=(20, 2)), np.eye(20, 2)
    gaps[3, 1] = np.nan
    for target in (gaps, np.ma.masked_invalid(gaps)):
        with pytest.raises(ValueError, match=r"^y must .*leave those .*out\.$"):
            StackingMultilabelClassifier([("a", DecisionTreeClassifier())], "mean").fit(features, target)
