"""Predicting at scale: only what is wanted is read, photos are decoded once, and a killed call goes on."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models import predict  # noqa: E402
from base_models.packed import packing  # noqa: E402
from base_models.photos import tensors  # noqa: E402
from base_models.runs import prediction, scored_chunks, shared_scoring  # noqa: E402
from base_models.runs.prediction import PredictOptions, clear_work  # noqa: E402
from stacking.files.atomic_files import OutputRefusedError  # noqa: E402


@pytest.fixture
def photos(tiny_photos, tmp_path):
    """Copies of a few photos, one of them cut."""
    place = tmp_path / "new"
    place.mkdir()
    for number in range(9):
        shutil.copy(Path(tiny_photos.root) / f"photo00{number}.png", place)
    (place / "photo004.png").write_bytes(b"\x89PNG\r\n\x1a\n cut")
    return place


@pytest.fixture
def networks(monkeypatch):
    """The networks that are read."""
    read = []
    real = prediction.load_network
    monkeypatch.setattr(
        prediction,
        "load_network",
        lambda place, *rest: read.append(f"{place.parent.name}/{place.name}") or real(place, *rest),
    )
    return read


def count_decoded(monkeypatch):
    counts = {"decoded": 0}

    def counting(real):
        def counted(*args):
            counts["decoded"] += 1
            return real(*args)

        return counted

    for module in (packing, tensors):
        monkeypatch.setattr(module, "letterbox", counting(module.letterbox))
    return counts


def test_only_wanted_models_are_read_and_each_photo_is_decoded_once(tiny_run, photos, networks, monkeypatch):
    counts = count_decoded(monkeypatch)
    everything = predict(tiny_run, photos, device="cpu")
    assert counts["decoded"] == 8 and everything.extras["unreadable"].tolist() == ["photo004"]
    assert sorted(networks) == [f"{name}/fold{fold}" for name in ("frequent", "rare", "whole") for fold in (0, 1)]
    for wanted, asked in (
        (["whole"], ["whole"]),
        (["pair"], ["frequent", "rare"]),
        (["rare", "whole"], ["whole", "rare"]),
    ):
        networks.clear()
        found = predict(tiny_run, photos, models=wanted, device="cpu")
        assert found.models == tuple(name for name in everything.models if name in wanted)
        assert networks == [f"{name}/fold{fold}" for name in asked for fold in (0, 1)]
        for name in wanted:
            np.testing.assert_array_equal(found.model_scores(name), everything.model_scores(name))
        np.testing.assert_array_equal(
            found.covers, everything.covers[[everything.models.index(m) for m in found.models]]
        )
    with pytest.raises(ValueError, match="models must name models of the run: got 'whol'"):
        predict(tiny_run, photos, models=["whol"], device="cpu")
    with pytest.raises(ValueError, match="at least one model of the run: got none"):
        predict(tiny_run, photos, models=[], device="cpu")


ROOT = Path(__file__).parents[3]
DYING = """
import os, signal, sys
from pathlib import Path
from base_models.runs import scored_chunks
from base_models.runs.prediction import PredictOptions, predict

run, photos, work, left = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
scored_chunks.CHUNK_ROWS = 3
real = scored_chunks.atomic_write_npy

def dying(path, scores):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    real(path, scores)

scored_chunks.atomic_write_npy = dying
predict(run, photos, options=PredictOptions(work), device="cpu")
"""


def test_a_folder_to_work_in_changes_no_bit_and_is_gone_on_from(tiny_run, photos, networks, tmp_path, monkeypatch):
    monkeypatch.setattr(scored_chunks, "CHUNK_ROWS", 3)
    work = tmp_path / "work"
    whole = predict(tiny_run, photos, device="cpu")
    moments = (2, 7, 5)
    for number in moments:  # chunks that are written before the kill
        command = [sys.executable, "-c", DYING, os.fspath(tiny_run), str(photos), str(work), str(number)]
        threads = str(torch.get_num_threads())  # another number of them rounds otherwise
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads}
        done = subprocess.run(command, env=environment, capture_output=True, timeout=120)
        assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    assert len(list((work / "scores").glob("*.npy"))) == sum(moments)  # of 18: three of every network
    networks.clear()
    resumed = predict(tiny_run, photos, options=PredictOptions(work), device="cpu")
    assert networks == ["rare/fold0", "rare/fold1"]
    np.testing.assert_array_equal(resumed.to_array(), whole.to_array())
    assert (resumed.ids.tolist(), resumed.models, resumed.labels) == (whole.ids.tolist(), whole.models, whole.labels)
    np.testing.assert_array_equal(resumed.covers, whole.covers)
    networks.clear()
    counts = count_decoded(monkeypatch)
    again = predict(tiny_run, photos, options=PredictOptions(work), device="cpu")
    assert not networks and not counts["decoded"]
    np.testing.assert_array_equal(again.to_array(), whole.to_array())
    (photos / "photo003.png").write_bytes((photos / "photo006.png").read_bytes())  # another photo: nothing old is used
    other = predict(tiny_run, photos, options=PredictOptions(work), device="cpu")
    place = other.ids.tolist().index("photo003"), other.ids.tolist().index("photo006")
    np.testing.assert_allclose(*(other.to_array()[:, at] for at in place), atol=1e-6)
    (work / "notes.txt").write_text("mine")
    clear_work(work)
    assert [path.name for path in work.iterdir()] == ["notes.txt"]


def test_packed_photos_are_used_and_a_strangers_folder_is_not(tiny_run, photos, tmp_path, monkeypatch):
    packs = tmp_path / "packed"
    first = predict(tiny_run, photos, options=PredictOptions(packs=packs), device="cpu")
    counts = count_decoded(monkeypatch)
    second = predict(tiny_run, photos, options=PredictOptions(packs=packs), device="cpu")
    assert not counts["decoded"] and second.extras["unreadable"].tolist() == ["photo004"]
    np.testing.assert_array_equal(first.to_array(), second.to_array())
    with pytest.raises(OutputRefusedError, match="photo000"):
        predict(tiny_run, photos, options=PredictOptions(work=photos), device="cpu")


def test_two_processes_give_the_bytes_of_one_and_one_that_dies_is_made_up_for(
    tiny_run, photos, networks, tmp_path, monkeypatch, caplog
):
    with prediction._threads_shared(2):
        whole = predict(tiny_run, photos, device="cpu")
    told = []
    networks.clear()
    options = PredictOptions(tmp_path / "work", n_processes=2)
    pair = predict(tiny_run, photos, options=options, device="cpu", progress=told.append)
    assert not networks  # all six were asked by the two others
    np.testing.assert_array_equal(pair.to_array(), whole.to_array())
    assert pair.ids.tolist() == whole.ids.tolist() and pair.extras["unreadable"].tolist() == ["photo004"]
    assert [event.step for event in told if "processes" in event.message] == [8, 16, 24, 32, 40, 48]
    real, started = shared_scoring.module_command, []

    def dying(module):
        started.append(module)
        killed = [sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
        return killed if len(started) == 2 else real(module)

    monkeypatch.setattr(shared_scoring, "module_command", dying)
    half = predict(tiny_run, photos, options=PredictOptions(tmp_path / "other", n_processes=2), device="cpu")
    assert len(networks) == 3 and "process 2 of 2 ended (signal 9)" in caplog.text
    np.testing.assert_array_equal(half.to_array(), whole.to_array())
    predict(tiny_run, photos, options=PredictOptions(tmp_path / "other", n_processes=2), device="cpu")
    assert len(started) == 2  # everything was there: none was started


def test_several_processes_need_a_folder_to_work_in():
    with pytest.raises(ValueError, match="n_processes must be 1 without a folder to work in"):
        PredictOptions(n_processes=2)


@pytest.fixture
def timed(monkeypatch):
    """A processor on which bfloat16 takes half the time, and how often it was tried."""
    from base_models.training import trial

    tried = []

    def seconds(compute, photos):
        tried.append(len(photos))
        compute(photos)
        return 0.5 if compute.args[0] == "bfloat16" else 1.0

    monkeypatch.setattr(trial, "_time", seconds)
    return tried


def test_networks_score_in_bfloat16_where_that_is_faster_and_near(tiny_run, photos, tmp_path, timed, monkeypatch):
    plain = predict(tiny_run, photos, device="cpu")
    assert not timed and "arithmetic" not in plain.extras  # nobody has asked
    work = PredictOptions(tmp_path / "work", precision="auto")
    fast = predict(tiny_run, photos, options=work, device="cpu")
    told = [json.loads(each) for each in fast.extras["arithmetic"]]
    assert told and {each["precision"] for each in told} == {"bfloat16"} and max(timed) == 9
    assert all(each["float32 ms"] == 1000 and each["bfloat16 ms"] == 500 for each in told)
    error = np.nanmax(np.abs(fast.to_array() - plain.to_array()))
    assert 0 < error <= 0.01 and all(each["largest difference"] <= 0.01 for each in told)
    n_tried = len(timed)
    shutil.rmtree(tmp_path / "work" / "scores")
    again = predict(tiny_run, photos, options=work, device="cpu")  # takes what is recorded, without a trial
    assert len(timed) == n_tried and again.fingerprint == fast.fingerprint
    two = PredictOptions(tmp_path / "two", n_processes=2, precision="auto")
    assert np.array_equal(
        predict(tiny_run, photos, options=two, device="cpu").to_array(), fast.to_array(), equal_nan=True
    )
    monkeypatch.setattr(prediction, "score_photos", lambda *_, **__: pytest.fail("it was scored again"))
    assert predict(tiny_run, photos, options=two, device="cpu").n_samples == fast.n_samples
    clear_work(tmp_path / "work")
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(("error", "faster"), [(0.0, True), (1.0, False)])
def test_networks_stay_in_float32_where_bfloat16_errs_or_is_no_faster(
    tiny_run, photos, timed, monkeypatch, error, faster
):
    from base_models.training import trial

    monkeypatch.setattr(trial, "MOST_ERROR", error)
    monkeypatch.setattr(trial, "WORTHWHILE", 0.95 if faster else 0.4)
    plain = predict(tiny_run, photos, device="cpu")
    told = predict(tiny_run, photos, options=PredictOptions(precision="auto"), device="cpu")
    assert np.array_equal(told.to_array(), plain.to_array(), equal_nan=True)
    assert {json.loads(each)["precision"] for each in told.extras["arithmetic"]} == {"float32"}


def test_another_precision_is_refused():
    with pytest.raises(ValueError, match="precision must be trained or auto: got 'half'"):
        PredictOptions(precision="half")
