"""An exported ensemble gives what the ensemble gives, read by numpy alone; what is wrong is refused in a sentence."""

import json
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import pytest

from stacking import PredictionSet, StackingEnsemble, save_predictions
from stacking.decision_rules import ImageRules
from stacking.export import reader
from stacking.export.program import FLOAT, Program
from stacking.export.writing import export_numpy
from stacking.files.atomic_files import OutputRefusedError
from stacking.kernels.gibbs import gibbs_marginals

EARLIER = Path(__file__).parents[1] / "ensemble" / "earlier_ensembles"


def assert_equal(ensemble, exported, predictions, **options):
    scores = predictions.to_array()
    expected = ensemble.predict_proba(predictions, **options, as_frame=False)
    found = exported.predict_proba(scores, **options)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
    certain = np.abs(expected - ensemble.thresholds_) > 1e-5
    decided = ensemble.predict(predictions, **options, as_frame=False)
    assert (exported.predict(scores, **options) == decided)[certain].all()


@pytest.fixture
def exported(ensembles, tmp_path):
    def make(ensemble, name="exported"):
        assert export_numpy(ensemble, tmp_path / name)
        return reader.load(tmp_path / name)

    return make


def test_every_method_gives_the_same(ensembles, exported, unseen, method):
    ensemble = ensembles(method)
    found = exported(ensemble)
    assert_equal(ensemble, found, unseen)
    assert_equal(ensemble, found, unseen, without=["cnn/b"])
    one = unseen.subset(samples=[7])
    assert_equal(ensemble, found, one)
    assert found.predict(unseen.to_array()[:, :0]).shape == (0, 5)


@pytest.mark.parametrize(
    ("rules", "rule"),
    [
        ({"top_k": 2}, "auto"),
        ({"min_labels": 1, "max_labels": 2, "exclusive_groups": ["color"], "min_per_group": {"sleeve": 1}}, "auto"),
        ({"never_empty": True, "max_per_group": {"sleeve": 0}}, "exact-micro-f1"),
        ({}, "samples-f1:beta=2"),
        ({"max_labels": 1}, "samples-f1"),
    ],
)
def test_every_rule_decides_the_same(exported, fitting, unseen, rules, rule):
    ensemble = StackingEnsemble("greedy", rule=rule, image_rules=ImageRules(**rules), n_splits=2).fit(fitting)
    found = exported(ensemble)
    assert (found.predict(unseen.to_array()) == ensemble.predict(unseen, as_frame=False)).all()


def test_a_threshold_that_no_score_reaches_stays(exported, fitting, unseen):
    ensemble = StackingEnsemble("mean", n_splits=2, image_rules=ImageRules(min_labels=5)).fit(fitting)
    ensemble.thresholds_[1] = np.inf
    assert exported(ensemble).predict(unseen.to_array()).all()
    ensemble.image_rules = None
    assert not exported(ensemble, "other").predict(unseen.to_array())[:, 1].any()


@pytest.mark.parametrize("folder", sorted(path.name for path in EARLIER.glob("0*") if path.is_dir()))
def test_ensembles_of_earlier_versions_too(exported, folder):
    ensemble = StackingEnsemble.load(EARLIER / folder)
    rng = np.random.default_rng(0)
    scores = rng.random((len(ensemble.models_), 40, len(ensemble.labels_))).astype(np.float32)
    scores[~ensemble.combiner_.covers_[:, None].repeat(40, axis=1)] = np.nan
    given = PredictionSet(scores, models=ensemble.models_, labels=ensemble.labels_)
    assert_equal(ensemble, exported(ensemble), given)


@pytest.mark.parametrize("level", [-1, -5, -8, -20])  # from labels that change at every sweep to none that is drawn
def test_the_sampler_is_the_kernels(level):
    rng = np.random.default_rng(3)
    fields = rng.normal(level, 3, (40, 6)).astype(np.float32)
    couplings = rng.normal(0, 1, (6, 6)).astype(np.float32) * ~np.eye(6, dtype=bool)
    expected = np.empty_like(fields)
    gibbs_marginals(fields, couplings, 50, 10, expected)
    found = reader.OPERATIONS["GibbsMarginals"](
        fields, couplings, n_sweeps=50, n_discarded=10, surely_absent=-9.0, n_labels=6
    )
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_blocks_of_rows_change_nothing(ensembles, exported, unseen, monkeypatch):
    ensemble = ensembles("lightgbm")
    found = exported(ensemble)
    whole = found.predict_proba(unseen.to_array())
    monkeypatch.setattr(reader, "BLOCK_CELLS", 137)
    np.testing.assert_allclose(found.predict_proba(unseen.to_array()), whole, atol=1e-7)


def test_names_decide_not_positions(ensembles, exported, unseen):
    found, scores = exported(ensembles("logistic")), unseen.to_array()
    expected = found.predict_proba(scores)
    by_name = {name: scores[place][:, ::-1] for place, name in reversed(list(enumerate(unseen.models)))}
    assert (found.predict_proba(by_name, labels=unseen.labels[::-1]) == expected).all()
    with pytest.warns(UserWarning, match="members that are not used: more"):
        found.predict_proba({**dict(zip(unseen.models, scores, strict=True)), "more": scores[0]})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, m, n: (s[:3], m[:3], n, ()), r"every member of the ensemble: 'd' is missing; add"),
        (lambda s, m, n: (s[:, :, 1:], m, n[1:], ()), r"every label of the ensemble: 'color:red' is missing\.$"),
        (lambda s, m, n: (s, m, n, ["x"]), r"without must name members of the ensemble: got 'x'"),
        (lambda s, m, n: (s, m, n, list(m)), "without must leave at least one member"),
        (lambda s, m, n: (s[:, :, :2], m, n, ()), r"scores must have shape \(4, n_samples, 5\)"),
        (lambda s, m, n: (s, (m[0], *m[:3]), n, ()), "name every member once"),
        (lambda s, m, n: (np.where(s == s[0, 4, 2], 1.5, s), m, n, ()), r"'cnn/a', row 4, label 'sleeve:long' has 1"),
        (lambda s, m, n: (np.where(s == s[0, 9, 2], np.nan, s), m, n, ()), r"model 'cnn/a', row 9, label .* has nan"),
        (lambda s, m, n: (s * np.nan, m, n, ()), "at least one member for every label: none is left for 'color:red'"),
    ],
)  # fmt: skip
def test_wrong_scores_are_refused_in_a_sentence(ensembles, exported, unseen, change, message):
    found = exported(ensembles("greedy"))
    scores, models, labels, without = change(unseen.to_array(), unseen.models, unseen.labels)
    with pytest.raises(ValueError, match=message):
        found.predict(scores, models=models, labels=labels, without=without)


def test_a_changed_or_foreign_folder_is_refused(ensembles, tmp_path):
    export_numpy(ensembles("mean"), tmp_path / "e")
    for name in ("arrays.npz", "program.json"):
        damaged = Path(shutil.copytree(tmp_path / "e", tmp_path / name))
        (damaged / name).write_bytes((damaged / name).read_bytes()[:-1] + b"x")
        with pytest.raises(ValueError, match="was changed after it was written"):
            reader.load(damaged)
    (damaged / "program.json").unlink()
    with pytest.raises(ValueError, match="must be a folder that `labelstack export --numpy` wrote"):
        reader.load(damaged)
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(ValueError, match="must be a folder"):
        reader.load(tmp_path)


def test_what_is_there_is_kept_or_replaced_as_asked(ensembles, tmp_path):
    place = tmp_path / "e"
    assert export_numpy(ensembles("mean"), place)
    assert not export_numpy(ensembles("mean"), place)
    with pytest.raises(OutputRefusedError, match="already holds an exported ensemble"):
        export_numpy(ensembles("geometric"), place)
    (place / "mine.txt").write_text("mine")
    assert export_numpy(ensembles("geometric"), place, overwrite=True)
    assert json.loads((place / "program.json").read_text())["method"] == "geometric"
    assert (place / "mine.txt").read_text() == "mine"
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "predict.py").write_text("mine")
    with pytest.raises(OutputRefusedError, match=r"must be empty: it holds 'predict\.py'"):
        export_numpy(ensembles("mean"), tmp_path / "foreign", overwrite=True)


def test_a_combiner_of_ones_own_is_refused(ensembles, tmp_path):
    class Mine(type(ensembles("mean").combiner_)):
        pass

    ensemble = StackingEnsemble.__new__(StackingEnsemble)
    vars(ensemble).update(vars(ensembles("mean")))
    ensemble.combiner_ = Mine()
    vars(ensemble.combiner_).update(vars(ensembles("mean").combiner_))
    with pytest.raises(ValueError, match="must be of a method of labelstack to be exported: Mine is none"):
        export_numpy(ensemble, tmp_path / "e")


def test_values_of_different_types_do_not_mix():
    program = Program()
    with pytest.raises(TypeError, match="must have the type float32: got float64"):
        program.input("a", FLOAT) + program.input("b", "float64")


@pytest.fixture(scope="session")
def numpy_alone(tmp_path_factory):
    """An interpreter whose environment holds numpy and nothing else."""
    place = tmp_path_factory.mktemp("venv")
    venv.create(place / "env", with_pip=False, symlinks=True)
    library = place / "library"
    library.mkdir()
    home = Path(np.__file__).parents[1]
    for name in ("numpy", "numpy.libs"):
        if (home / name).is_dir():
            (library / name).symlink_to(home / name)
    (next((place / "env").glob("lib/python*/site-packages")) / "numpy.pth").write_text(f"{library}\n")
    return place / "env" / "bin" / "python"


ASK = """
import sys, numpy as np
from pathlib import Path
for package in ("scipy", "sklearn", "lightgbm", "stacking", "labelstack", "pandas", "numba"):
    try:
        __import__(package)
    except ImportError:
        continue
    raise SystemExit(f"{package} can be imported")
for folder in sorted(Path(sys.argv[1]).iterdir()):
    sys.path.insert(0, str(folder))
    import predict
    found = predict.load()
    scores = np.load(sys.argv[2])["y_scores"]
    np.savez(sys.argv[3] + "/" + folder.name, p=found.predict_proba(scores), d=found.predict(scores))
    del sys.path[0], sys.modules["predict"]
"""


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links")
def test_an_environment_with_numpy_alone_predicts_the_same(ensembles, unseen, numpy_alone, tmp_path):
    chosen = ["mean", "rank", "greedy", "harmonic", "logistic", "ridge-context", "label-context", "lightgbm", "auto"]
    for method in chosen:
        export_numpy(ensembles(method), tmp_path / "exports" / method)
    bundle, answers = save_predictions(unseen, tmp_path / "unseen.npz"), tmp_path / "answers"
    answers.mkdir()
    call = [numpy_alone, "-I", "-c", ASK, tmp_path / "exports", bundle, answers]
    done = subprocess.run(call, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    for method in chosen:
        with np.load(answers / f"{method}.npz") as found:
            expected = ensembles(method).predict_proba(unseen, as_frame=False)
            np.testing.assert_allclose(found["p"], expected, atol=1e-5)
            assert (found["d"] == ensembles(method).predict(unseen, as_frame=False)).mean() > 0.999

    def command(*words):
        return subprocess.run(
            [numpy_alone, tmp_path / "exports" / "auto" / "predict.py", *words], capture_output=True, text=True
        )

    done = command(bundle, "--out", tmp_path / "labels.csv")
    assert done.returncode == 0 and done.stdout.startswith("150 samples, "), done.stderr
    rows = (tmp_path / "labels.csv").read_text().splitlines()
    fired = ensembles("auto").predict(unseen, as_frame=False)
    assert rows[0] == "id,labels" and len(rows) == 151
    assert rows[1] == f"photo1-0,{'|'.join(np.array(unseen.labels)[fired[0]])}"
    again = command(bundle, "--out", tmp_path / "labels.csv")
    assert again.returncode == 2 and "exists" in again.stderr and "Traceback" not in again.stderr
    wrong = command(tmp_path / "labels.csv", "--out", tmp_path / "other.csv")
    assert wrong.returncode == 2 and "Traceback" not in wrong.stderr and not (tmp_path / "other.csv").exists()
