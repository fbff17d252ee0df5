"""A stack of classifiers is saved without pickle, and a folder of a stranger builds nothing that is not trusted."""

import json
import pickle

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_multilabel_classification
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.tree import DecisionTreeClassifier

from stacking import StackingMultilabelClassifier

skops_io = pytest.importorskip("skops.io")
X, Y = make_multilabel_classification(n_samples=90, n_features=6, n_classes=3, random_state=0)
BASES = [
    ("filled", make_pipeline(SimpleImputer(), LogisticRegression())),
    ("tree", DecisionTreeClassifier(max_depth=3, random_state=0)),
    ("gone", "drop"),
]


TREE = ["sklearn.tree._tree.Tree"]


class Own(GaussianNB):
    """A classifier of the user's own."""


def assert_same(stack, again, features):
    np.testing.assert_array_equal(again.predict_proba(features), stack.predict_proba(features))
    np.testing.assert_array_equal(again.predict(features), stack.predict(features))
    np.testing.assert_array_equal(again.classes_, stack.classes_)
    assert again.labels_ == stack.labels_ and list(again.named_estimators_) == list(stack.named_estimators_)


@pytest.mark.parametrize("target", ["many", "frame", "two words", "constant"])
def test_it_comes_back_as_it_was(tmp_path, target):
    y = {
        "many": Y,
        "frame": pd.DataFrame(Y, columns=["dress", "red", "hat"]),
        "two words": np.where(Y[:, 0], "yes", "no"),
        "constant": np.column_stack([Y, np.ones(90, int)]),
    }[target]
    features = pd.DataFrame(X, columns=list("abcdef")) if target == "frame" else X
    stack = StackingMultilabelClassifier(BASES, "logistic", cv=3).fit(features, y)
    stack.save(tmp_path / "stack")
    again = StackingMultilabelClassifier.load(tmp_path / "stack", trusted=TREE)
    assert_same(stack, again, features)
    assert again.get_params()["cv"] == 3 and again.get_params()["gone"] == "drop"
    again.fit(features, y)  # it can be fitted anew
    assert_same(stack, again, features)


def test_no_file_is_a_pickle(tmp_path):
    StackingMultilabelClassifier(BASES, "mean").fit(X, Y).save(tmp_path / "stack")
    files = [path for path in (tmp_path / "stack").rglob("*") if path.is_file()]
    assert {"manifest.json", "classifiers.skops"} <= {path.name for path in files}
    for path in files:
        with pytest.raises(Exception):  # noqa: B017 - pickle says so in many ways
            pickle.loads(path.read_bytes())


def test_an_earlier_stack_is_replaced_only_when_asked(tmp_path):
    first = StackingMultilabelClassifier(BASES, "mean").fit(X, Y)
    first.save(tmp_path / "stack")
    (tmp_path / "stack" / "notes.txt").write_text("mine")
    second = StackingMultilabelClassifier(BASES, "greedy").fit(X, Y)
    with pytest.raises(FileExistsError):
        second.save(tmp_path / "stack")
    assert_same(first, StackingMultilabelClassifier.load(tmp_path / "stack", trusted=TREE), X)
    second.save(tmp_path / "stack", overwrite=True)
    assert_same(second, StackingMultilabelClassifier.load(tmp_path / "stack", trusted=TREE), X)
    assert (tmp_path / "stack" / "notes.txt").read_text() == "mine"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError):
        second.save(tmp_path / "mine", overwrite=True)


def test_types_of_others_must_be_named(tmp_path):
    stack = StackingMultilabelClassifier([("own", Own()), ("bayes", GaussianNB())], "mean").fit(X, Y)
    stack.save(tmp_path / "stack")
    with pytest.raises(ValueError, match=r"types that are trusted: got .*Own; if you trust whoever saved it") as told:
        StackingMultilabelClassifier.load(tmp_path / "stack")
    name = str(told.value).partition("trusted: got ")[2].partition(";")[0]
    assert name.endswith(".Own")


def test_a_changed_file_is_found(tmp_path):
    StackingMultilabelClassifier(BASES, "mean").fit(X, Y).save(tmp_path / "stack")
    file = tmp_path / "stack" / "classifiers.skops"
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(ValueError, match=r"classifiers.skops must be the file that was saved: it was changed"):
        StackingMultilabelClassifier.load(tmp_path / "stack")
    file.unlink()
    with pytest.raises(ValueError, match=r"classifiers\.skops"):
        StackingMultilabelClassifier.load(tmp_path / "stack")


def test_a_strange_manifest_is_refused(tmp_path):
    StackingMultilabelClassifier(BASES, "mean").fit(X, Y).save(tmp_path / "stack")
    path = tmp_path / "stack" / "manifest.json"
    with pytest.raises(ValueError, match=r"got sklearn.tree._tree.Tree; if you trust"):
        StackingMultilabelClassifier.load(tmp_path / "stack")
    manifest = json.loads(path.read_text())
    for change, sentence in (
        ({"format": "other"}, "must be a folder that StackingMultilabelClassifier.save wrote"),
        ({"sha256": {"../../outside": "0"}}, "outside"),
        ({"facts": {**manifest["facts"], "labels": ["one"]}}, "different numbers of labels"),
        ({"facts": {}}, "stack"),
    ):
        path.write_text(json.dumps({**manifest, **change}))
        with pytest.raises(ValueError, match=sentence):
            StackingMultilabelClassifier.load(tmp_path / "stack", trusted=TREE)


def test_a_final_estimator_of_scikit_learn_is_refused_before_anything_is_written(tmp_path):
    stack = StackingMultilabelClassifier(BASES, LogisticRegression()).fit(X, Y)
    with pytest.raises(TypeError, match=r"final_estimator must be a StackingEnsemble, or the name of its method"):
        stack.save(tmp_path / "stack")
    assert not (tmp_path / "stack").exists()


def test_skops_is_named_where_it_is_missing(tmp_path, monkeypatch):
    stack = StackingMultilabelClassifier(BASES, "mean").fit(X, Y)
    monkeypatch.setitem(__import__("sys").modules, "skops.io", None)
    with pytest.raises(ImportError, match=r"pip install 'labelstack\[skops\]'"):
        stack.save(tmp_path / "stack")
