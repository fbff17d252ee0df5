import hashlib
import json

import numpy as np
import pytest

from stacking import StackingEnsemble, compare, micro_f1
from stacking.combiners.registry import list_methods
from stacking.decision_rules import ImageRules
from stacking.predictions import PredictionSet
from stacking.testing import make_predictions

OFFLINE_METHODS = ["mean", "rank", "greedy", "convex", "logistic", "ridge-context", "label-context", "lightgbm"]


@pytest.fixture(scope="module")
def boosted():
    """An ensemble whose folder holds trees: one label is no straight line."""
    predictions = make_predictions(2, 900, 2)
    odd = (np.abs(predictions.to_array()[0, :, 0] - 0.5) < 0.25).astype(np.uint8)
    truth = np.column_stack([odd, predictions.y_true[:, 1]])
    return StackingEnsemble("lightgbm", n_splits=3).fit(predictions.with_truth(truth)), predictions


@pytest.mark.parametrize("method", OFFLINE_METHODS)
def test_survives_its_folder(method, tmp_path):
    predictions = make_predictions(n_samples=150)
    ensemble = StackingEnsemble(method, n_splits=3).fit(predictions)
    ensemble.save(tmp_path / "ensemble")
    again = StackingEnsemble.load(tmp_path / "ensemble")
    np.testing.assert_array_equal(again.predict_proba(predictions), ensemble.predict_proba(predictions))
    np.testing.assert_array_equal(again.thresholds_, ensemble.thresholds_)
    assert again.report_ == json.loads(json.dumps(ensemble.report_))
    assert again.fingerprint == ensemble.fingerprint


def test_every_changed_file_is_refused(boosted, tmp_path):
    ensemble, predictions = boosted
    folder = tmp_path / "ensemble"
    ensemble.save(folder)
    assert list(folder.glob("texts/*.txt"))
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".md"]
    files.remove(folder / "manifest.json")  # the card, an .md, is for people: nothing reads it
    for path in files:
        data = path.read_bytes()
        path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
        with pytest.raises(ValueError, match="another sha256"):
            StackingEnsemble.load(folder)
        path.unlink()
        with pytest.raises(ValueError, match="lacks its file"):
            StackingEnsemble.load(folder)
        path.write_bytes(data)
    assert StackingEnsemble.load(folder).predict(predictions).shape == (900, 2)


def test_a_folder_without_its_manifest_is_no_ensemble(boosted, tmp_path):
    folder = tmp_path / "ensemble"
    boosted[0].save(folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, "schema_version": 99}))
    with pytest.raises(ValueError, match="schema version 99"):
        StackingEnsemble.load(folder)
    (folder / "manifest.json").unlink()
    with pytest.raises(ValueError, match=r"has no manifest\.json"):
        StackingEnsemble.load(folder)


@pytest.mark.parametrize("name", ["../secret.npy", "arrays/../../secret.npy", "link/secret.npy"])
def test_a_manifest_cannot_name_files_outside(tmp_path, name):
    """The hash is right, so nothing but the place can give it away."""
    folder = tmp_path / "ensemble"
    StackingEnsemble("mean", n_splits=2).fit(make_predictions(n_samples=60)).save(folder)
    np.save(tmp_path / "secret.npy", np.full(4, 0.5))
    (folder / "link").symlink_to(tmp_path, target_is_directory=True)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"][manifest["arrays"]["thresholds"]]
    manifest["sha256"][name] = hashlib.sha256((tmp_path / "secret.npy").read_bytes()).hexdigest()
    manifest["arrays"]["thresholds"] = name
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(ValueError, match="names a file that no ensemble has"):
        StackingEnsemble.load(folder)


def test_trees_are_parsed_only_after_the_hashes_are_checked(boosted, tmp_path, monkeypatch):
    import lightgbm

    folder = tmp_path / "ensemble"
    boosted[0].save(folder)
    path = next(folder.glob("texts/*.txt"))
    path.write_bytes(path.read_bytes()[:300])
    monkeypatch.setattr(lightgbm, "Booster", lambda **_: pytest.fail("a damaged text was parsed"))
    with pytest.raises(ValueError, match="another sha256"):
        StackingEnsemble.load(folder)


def test_a_class_of_somebody_else_is_not_imported(boosted, tmp_path):
    from stacking.combiners.state import find_combiner_class

    for name in ("os:system", "stacking.combiners.combiner:clone", "stacking.metrics:micro_f1"):
        with pytest.raises(ValueError, match="combiner"):
            find_combiner_class(name)


def test_an_unknown_method_gets_a_hint():
    with pytest.raises(ValueError, match="Did you mean 'ridge-context'"):
        StackingEnsemble("ridge-contxt").fit(make_predictions())


def test_thresholds_come_from_scores_that_did_not_see_their_row(rng):
    predictions = make_predictions(2, 200, 40)
    noise = predictions.with_truth((rng.random((200, 40)) < 0.2).astype(np.uint8))
    report = StackingEnsemble("logistic", n_splits=4).fit(noise).report_
    always = 2 * 0.2 / 1.2  # micro-F1 of firing everywhere
    assert report["cross_fitted_micro_f1"] == pytest.approx(always, abs=0.04)
    assert set(report["rules"]) >= {"single", "exact-micro-f1"}


@pytest.mark.parametrize("method", ["auto", "label-context"])
def test_a_stacker_is_not_below_the_mean_on_new_rows(method):
    fitting, test = make_predictions(4, 500, 5, random_state=1), make_predictions(4, 500, 5, random_state=2)
    scores = {
        name: micro_f1(test.y_true, StackingEnsemble(name, n_splits=3).fit(fitting).predict(test))
        for name in ("mean", method)
    }
    assert scores[method] > scores["mean"] - 0.015


def test_methods_have_unique_names():
    assert len(set(list_methods())) == len(list_methods()) >= 12


@pytest.mark.parametrize("method", ["mean", "greedy", "greedy-per-label", "convex", "logistic", "auto"])
def test_members_that_are_not_needed_move_nothing(method):
    rng = np.random.default_rng(3)
    y_true = (rng.random((300, 4)) < 0.4).astype(np.uint8)
    meant = [2.0, 2.0, -2.0, -2.0, -2.0]  # the last ones say the contrary
    y_scores = np.stack(
        [1 / (1 + np.exp(-sign * (2.0 * y_true - 1) - rng.normal(size=y_true.shape))) for sign in meant]
    )
    names = [f"m{number}" for number in range(5)]
    predictions = PredictionSet(y_scores.astype(np.float32), models=names, labels=list("abcd"), y_true=y_true)
    ensemble = StackingEnsemble(method, random_state=0).fit(predictions)
    needed = ensemble.members_needed()
    assert set(needed) <= set(names) and needed == tuple(name for name in names if name in needed)
    if method.startswith("greedy") or method == "convex":
        assert len(needed) < 5
    if method in ("mean", "logistic"):
        assert len(needed) == 5
    whole = ensemble.predict_proba(predictions)
    part = ensemble.predict_proba(predictions.subset(models=list(needed)), without=set(names) - set(needed))
    np.testing.assert_allclose(part, whole, atol=1e-6)
    assert "m0" not in ensemble.members_needed(without=["m0"])
    with pytest.raises(ValueError, match="without must name fitted members: got 'm9'"):
        ensemble.members_needed(without=["m9"])


def test_parameters_that_numpy_made_are_saved_as_pythons_are(tmp_path):
    predictions = make_predictions(n_samples=80)
    parameters = {"random_state": 3, "n_splits": 3, "time_limit": 60.0}
    limits = {"max_labels": 2, "min_labels": 1}
    as_numpy = {"random_state": np.int64(3), "n_splits": np.int32(3), "time_limit": np.float32(60)}
    ensembles = [
        StackingEnsemble("greedy", image_rules=ImageRules(**limits), **parameters),
        StackingEnsemble("greedy", image_rules=ImageRules(**{k: np.int64(v) for k, v in limits.items()}), **as_numpy),
    ]
    folders = [tmp_path / "python", tmp_path / "numpy"]
    for ensemble, folder in zip(ensembles, folders, strict=True):
        ensemble.fit(predictions).save(folder)
    one, other = map(StackingEnsemble.load, folders)
    assert one.fingerprint == other.fingerprint == ensembles[1].fingerprint
    np.testing.assert_array_equal(one.predict(predictions), other.predict(predictions))


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_splits": 2.5}, ValueError, "n_splits must be a whole number of at least 2: got 2.5"),
        ({"n_splits": "5"}, ValueError, "n_splits must be a whole number of at least 2: got '5'"),
        ({"time_limit": "60"}, ValueError, "time_limit must be a number of seconds or None: got 60"),
        ({"image_rules": {"max_labels": 2}}, TypeError, r"image_rules must be labelstack.ImageRules\(...\) or None"),
    ],
)
def test_parameters_of_another_kind_are_refused_before_the_fit(parameters, error, message):
    predictions = make_predictions(n_samples=60)
    with pytest.raises(error, match=message):
        StackingEnsemble("mean", **parameters).fit(predictions)
    given = {"fit_time_limit" if name == "time_limit" else name: value for name, value in parameters.items()}
    with pytest.raises(error, match=message):
        compare(predictions, ["mean"], **given)
