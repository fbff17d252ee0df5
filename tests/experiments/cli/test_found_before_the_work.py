"""What can be told from the command line alone is told before a prediction is read or a photo scored."""

import pytest

import experiments.several_sets  # noqa: F401  # before what it imports by name is replaced


@pytest.fixture
def no_reading(monkeypatch):
    """Make reading predictions, and scoring photos, a failure of the test."""

    def fail(*arguments, **options):
        raise AssertionError("predictions were read before the arguments were checked")

    monkeypatch.setattr("stacking.predictions.load_predictions", fail)
    monkeypatch.setattr("stacking.predictions.forms.loading._load_one", fail)
    monkeypatch.setattr("experiments.labeling.label_table.score_images", fail)


@pytest.mark.parametrize(("command", "words"), [
    (["fit", "P", "--method", "greedi", "--out", "O"], "Did you mean 'greedy'?"),
    (["fit", "P", "--rule", "exact", "--out", "O"], "rule must be one of"),
    (["fit", "P", "--max-per-group", "color", "--out", "O"], "--max-per-group must be GROUP=N"),
    (["compare", "P", "--methods", "mean,greedi", "--out", "O"], "Did you mean 'greedy'?"),
    (["compare", "P", "--holdout", "none.npz", "--out", "O"], "--holdout must be a bundle, a store or a run"),
])  # fmt: skip
def test_names_and_limits(labelstack, bundle, tmp_path, no_reading, command, words):
    done = labelstack(*[{"P": bundle, "O": tmp_path / "out"}.get(word, word) for word in command])
    assert done.exit_code == 2 and words in done.stderr, done.output


@pytest.mark.parametrize("option", ["--truth", "--ids", "--labels", "--model"])
def test_missing_files(labelstack, tmp_path, monkeypatch, option):
    (tmp_path / "a.csv").write_text("id,x\n1,.5\n")
    monkeypatch.setattr("stacking.predictions.forms.loading._load_one", lambda *a, **k: pytest.fail("read too early"))
    done = labelstack("pack", "--model", tmp_path / "a.csv", option, tmp_path / "none.csv", "--out", tmp_path / "o.npz")
    assert done.exit_code == 2 and "none.csv" in done.stderr and "exist" in done.stderr, done.output


def test_a_run_that_is_none_and_a_member_that_is_unknown(labelstack, bundle, tmp_path, monkeypatch):
    assert labelstack("fit", bundle, "--method", "mean", "--out", tmp_path / "e").exit_code == 0
    monkeypatch.setattr(
        "experiments.labeling.label_table.score_images", lambda *a, **k: pytest.fail("scored too early")
    )
    (tmp_path / "photos").mkdir()
    done = labelstack(
        "predict", tmp_path / "e", "--run", tmp_path, "--images", tmp_path / "photos", "--out", tmp_path / "p.csv"
    )
    assert done.exit_code == 2 and "run must be the folder of a training run" in done.stderr, done.output
