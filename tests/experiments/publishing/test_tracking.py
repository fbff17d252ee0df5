"""Trackers hear the curves of a training and the scores of a fit; what they write is read back by their own means."""

import json
import math
import os
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from experiments.publishing import tracking as module
from experiments.publishing.tracking import track_result, track_training, tracking


class Recorder:
    """A tracker in memory."""

    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.scalars, self.set, self.files, self.closed = [], {}, [], False

    def scalar(self, name, value, step):
        self.scalars.append((name, value, step))

    def parameters(self, values):
        self.set |= dict(values)

    def artifact(self, path):
        self.files.append(path.name)

    def close(self):
        self.closed = True


@pytest.fixture
def recorder(monkeypatch):
    made = []
    monkeypatch.setitem(module.TRACKERS, "mlflow", lambda *where: made.append(Recorder(*where)) or made[-1])
    return made


def test_fit_and_compare_log_scores_and_reports(labelstack, bundle, tmp_path, recorder):
    done = labelstack("fit", bundle, "--method", "mean", "--log", "mlflow", "--out", tmp_path / "e")
    assert done.exit_code == 0, done.stderr
    call = ("compare", bundle, "--methods", "mean", "--folds", 2, "--log", "mlflow", "--out", tmp_path / "c")
    assert labelstack(*call).exit_code == 0
    fitted, compared = recorder
    assert fitted.folder == tmp_path / "e-logs" and fitted.name == "e" and fitted.closed and compared.closed
    assert [name for name, _, _ in fitted.scalars] == ["score/micro-F1"] and fitted.set["method"] == "mean"
    assert {"README.md", "report.html"} <= set(fitted.files)
    assert {"score/mean", "score/cnn/a"} <= {name for name, _, _ in compared.scalars}
    assert {"leaderboard.json", "report.html"} <= set(compared.files)


def test_a_training_logs_its_curves(tmp_path, recorder, labelstack):
    pytest.importorskip("torch")
    from base_models.testing import write_tiny_photos

    write_tiny_photos(tmp_path / "photos", 16, 6)
    (tmp_path / "recipe.toml").write_text(
        'name = "t"\nn_threads = 1\n[data]\nformat = "folder"\nroot = "photos"\nsplit_column = "split"\n'
        "[folds]\nn_folds = 2\n[training]\nepochs = 2\nbatch_size = 6\n"
        '[[members]]\nname = "m"\nnetwork = "test_resnet"\nsize = 32\n'
    )
    call = ("train", tmp_path / "recipe.toml", "--device", "cpu", "--log", "mlflow", "--out", tmp_path / "run")
    done = labelstack(*call)
    assert done.exit_code == 0, done.stderr
    (heard,) = recorder
    for fold in (0, 1):
        for curve in ("validation_micro_f1", "loss", "learning_rate"):
            steps = [step for name, _, step in heard.scalars if name == f"m/fold{fold}/{curve}"]
            assert steps == [1, 2], (curve, heard.scalars)
    assert all(math.isfinite(value) for _, value, _ in heard.scalars)
    assert heard.closed and "README.md" in heard.files and heard.set["members"] == "m"


def test_unknown_and_absent_trackers_are_told_before_any_work(labelstack, bundle, tmp_path, monkeypatch):
    for command in ("fit", "compare"):
        done = labelstack(command, bundle, "--log", "mlfow", "--out", tmp_path / "e")
        assert done.exit_code == 2 and "did you mean 'mlflow'" in done.stderr.lower().replace("“", "'")
    monkeypatch.setitem(sys.modules, "wandb", None)
    done = labelstack("fit", bundle, "--log", "wandb", "--out", tmp_path / "e")
    assert done.exit_code == 2 and "pip install wandb" in done.stderr
    assert not (tmp_path / "e").exists()


def test_a_tracker_is_closed_when_the_work_fails(tmp_path, recorder):
    with pytest.raises(KeyError), tracking("mlflow", tmp_path / "run"):
        raise KeyError
    assert recorder[0].closed


def write_something(name, tmp_path):
    """Log a curve with a gap and a file."""
    (tmp_path / "run" / "members" / "m" / "fold0").mkdir(parents=True)
    history = tmp_path / "run" / "members" / "m" / "fold0" / "history.csv"
    history.write_text("epoch,loss,validation_micro_f1\n1,0.5,\n2,0.25,0.7\n")
    (tmp_path / "run" / "README.md").write_text("# card")
    from base_models.training.progress import TrainingEvent

    with tracking(name, tmp_path / "run") as tracker:
        hear = track_training(tracker, tmp_path / "run", None)
        hear(TrainingEvent("epoch", "m", epoch=1))  # NaN: nothing was validated
        hear(TrainingEvent("epoch", "m", epoch=2, validation_micro_f1=0.7))
        hear(TrainingEvent("fold", "m", n_folds=1))
        track_result(tracker, tmp_path / "run", {"best": 0.7, "none": None}, {"seed": 0}, ["README.md", "absent.md"])
    return tmp_path / "run-logs"


@pytest.mark.filterwarnings("ignore")
def test_tensorboard_reads_what_was_logged(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    place = write_something("tensorboard", tmp_path)
    found = EventAccumulator(str(place / "run")).Reload()
    from tensorboard.util.tensor_util import make_ndarray

    def curve(tag):
        return [(one.step, float(make_ndarray(one.tensor_proto))) for one in found.Tensors(tag)]

    assert curve("m/fold0/loss") == [(1, 0.5), (2, 0.25)]
    assert curve("m/fold0/validation_micro_f1") == [(2, pytest.approx(0.7))]
    assert (place / "run" / "README.md").read_text() == "# card"


@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_what_was_logged(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow", reason="mlflow is not installed")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    place = write_something("mlflow", tmp_path)
    client = mlflow.MlflowClient(tracking_uri=(place / "mlruns").as_uri())
    (experiment,) = [one for one in client.search_experiments() if one.name == "labelstack"]
    (run,) = client.search_runs([experiment.experiment_id])
    assert [(one.step, one.value) for one in client.get_metric_history(run.info.run_id, "m/fold0/loss")] == [
        (1, 0.5), (2, 0.25),
    ]  # fmt: skip
    assert run.data.params["seed"] == "0" and run.info.status == "FINISHED"
    assert [Path(one.path).name for one in client.list_artifacts(run.info.run_id)] == ["README.md"]


class FakeWandb:
    """What the adapter uses of wandb, as wandb 0.31 answers offline; the test after this one asks the real one."""

    def __init__(self, folder):
        self.dir, self.config, self.curves, self.logged, self.saved, self.ended = str(folder), {}, [], [], [], False
        folder.mkdir()

    def init(self, **settings):
        self.settings = settings
        return self

    def define_metric(self, name, step_metric):
        self.curves.append((name, step_metric))

    def log(self, values):
        self.logged.append(values)

    def save(self, path, base_path, policy):
        self.saved.append((Path(path).relative_to(base_path).as_posix(), policy))

    def finish(self):
        self.ended = True


def test_wandb_gets_curves_with_steps_of_their_own_and_copies_of_files(tmp_path, monkeypatch):
    fake = FakeWandb(tmp_path / "files")
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.setenv("WANDB_PROJECT", "shoes")
    place = write_something("wandb", tmp_path)
    assert fake.settings == {"project": "shoes", "name": "run", "dir": str(place)} and fake.ended
    assert fake.curves == [("m/fold0/*", "m/fold0/step"), ("score/*", "score/step")]  # each said once
    assert {"m/fold0/loss": 0.25, "m/fold0/step": 2} in fake.logged and {
        "score/best": 0.7,
        "score/step": 0,
    } in fake.logged
    assert fake.config == {"seed": 0} and fake.saved == [("README.md", "now")]
    kept = tmp_path / "files" / "README.md"
    assert kept.read_text() == "# card" and not kept.is_symlink()


def test_wandb_reads_what_was_logged(tmp_path):
    pytest.importorskip("wandb", reason="wandb is not installed")
    from wandb.proto import wandb_internal_pb2

    code = (
        "import runpy, sys, pathlib; runpy.run_path(sys.argv[1])['write_something']('wandb', pathlib.Path(sys.argv[2]))"
    )
    given = {**os.environ, "WANDB_MODE": "offline", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(  # its file is whole when the process has ended
        [sys.executable, "-c", code, __file__, str(tmp_path)], env=given, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    (file,) = (tmp_path / "run-logs").rglob("*.wandb")
    data, place, whole, rows, config = file.read_bytes(), 7, b"", [], {}
    while place + 7 <= len(data):  # the log format of LevelDB: blocks of 32 KiB, a header of 7 bytes per part
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, part = struct.unpack("<HB", data[place + 4 : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if part in (1, 4):  # the whole of a record, or its end
            record = wandb_internal_pb2.Record.FromString(whole)
            whole = b""
            rows += [{key_of(item): json.loads(item.value_json) for item in record.history.item}]
            config |= {item.key: json.loads(item.value_json) for item in record.config.update}
    assert [(row["m/fold0/step"], row["m/fold0/loss"]) for row in rows if "m/fold0/loss" in row] == [
        (1, 0.5),
        (2, 0.25),
    ]
    assert [row["score/best"] for row in rows if "score/best" in row] == [0.7] and config["seed"] == 0
    kept = file.parent / "files" / "README.md"
    assert kept.read_text() == "# card" and not kept.is_symlink()


def key_of(item):
    """Name a number of wandb's history."""
    return item.key or "/".join(item.nested_key)


def test_a_tracker_that_cannot_begin_is_answered_in_a_sentence(labelstack, bundle, tmp_path, monkeypatch):
    def begin(folder, name):
        raise RuntimeError("No API key configured. Use `wandb login` to log in.")

    monkeypatch.setitem(module.TRACKERS, "wandb", begin)
    done = labelstack("fit", bundle, "--method", "mean", "--log", "wandb", "--out", tmp_path / "e")
    assert done.exit_code == 2 and "--log wandb cannot begin: No API key configured." in done.stderr
    assert not (tmp_path / "e" / "manifest.json").exists()
