"""Whole runs: every row once, nothing leaks, kills cost nothing, bad photos are left out."""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.manifest import load_manifest  # noqa: E402
from base_models.recipe.canonical import recipe_hash  # noqa: E402
from base_models.recipe.run import DerivedMember  # noqa: E402
from base_models.runs.out_of_fold import choose_device, run_training  # noqa: E402
from base_models.runs.prediction import predict  # noqa: E402
from base_models.testing import tiny_recipe, write_tiny_photos  # noqa: E402
from stacking.files.untrusted import read_npz  # noqa: E402
from stacking.predictions import load_predictions  # noqa: E402

PACKAGE_ROOT = str(Path(__file__).parents[3])


def test_the_stores_hold_every_row_model_and_label_by_name(tiny_run, tiny_photos):
    manifest = load_manifest(tiny_photos, Path())
    oof, test = load_predictions(tiny_run / "oof"), load_predictions(tiny_run / "test")
    assert oof.models == test.models == ("whole", "frequent", "rare", "pair")
    assert oof.labels == manifest.vocabulary.names
    train, held = manifest.split_rows("train"), manifest.split_rows("test")
    for found, rows in ((oof, train), (test, held)):
        assert sorted(found.ids) == sorted(manifest.ids[rows])
        order = [manifest.ids.tolist().index(name) for name in found.ids]
        np.testing.assert_array_equal(found.y_true, manifest.y_true[order])
        np.testing.assert_array_equal(found.groups, manifest.groups[order])
        np.testing.assert_allclose(found.train_frequency, manifest.y_true[train].mean(axis=0))
    assert set(oof.folds) == {0, 1}


def test_specialists_cover_their_labels_and_the_pair_joins_them(tiny_run):
    for name in ("oof", "test"):
        found = load_predictions(tiny_run / name)
        covers = dict(zip(found.models, found.covers, strict=True))
        assert covers["whole"].all() and covers["pair"].all()
        assert (covers["frequent"] ^ covers["rare"]).all() and covers["frequent"].sum() == 3
        frequent, rare, pair = (found.model_scores(model) for model in ("frequent", "rare", "pair"))
        np.testing.assert_array_equal(np.isnan(frequent), np.tile(~covers["frequent"], (found.n_samples, 1)))
        np.testing.assert_array_equal(pair, np.where(covers["frequent"], frequent, rare))


def test_folds_share_no_group_and_validation_rows_come_from_the_folds_own_training_part(tiny_run, tiny_photos):
    manifest = load_manifest(tiny_photos, Path())
    splits = read_npz(tiny_run / "splits.npz")
    groups = np.array([manifest.groups[manifest.ids.tolist().index(name)] for name in splits["ids"]])
    for fold in range(2):
        held = splits["fold"] == fold
        validation = splits["validation"][:, fold]
        training = (splits["split"] == "train") & ~held & ~validation
        assert held.any() and validation.any() and training.any()
        assert not set(groups[held]) & set(groups[training | validation])
        assert not set(groups[validation]) & set(groups[training])
        assert not (validation & (splits["split"] == "test")).any()


def test_a_row_is_scored_by_the_network_that_did_not_see_it(tiny_run, tiny_photos):
    from base_models.photos.tensors import PhotoTensors
    from base_models.runs.fold_record import FoldRecord
    from base_models.runs.inference import load_network
    from base_models.training.scoring import score_photos

    manifest = load_manifest(tiny_photos, Path())
    oof, splits = load_predictions(tiny_run / "oof"), read_npz(tiny_run / "splits.npz")
    for fold in range(2):
        place = tiny_run / "members" / "whole" / f"fold{fold}"
        network = load_network(place, FoldRecord.read(place), "cpu")
        ids = splits["ids"][splits["fold"] == fold]
        rows = np.array([manifest.ids.tolist().index(name) for name in ids])
        scores = score_photos(network, PhotoTensors(manifest, rows, 32), np.arange(len(rows)))
        at = [oof.ids.tolist().index(name) for name in ids]
        np.testing.assert_allclose(oof.model_scores("whole")[at], scores, atol=1e-5)


def test_a_finished_run_started_again_trains_nothing(tiny_run, tiny_photos, tmp_path):
    events = []
    before = {path: path.stat().st_mtime_ns for path in tiny_run.glob("members/*/*/*")}
    run_training(tiny_recipe(tiny_photos), tiny_run, device="cpu", progress=events.append)
    assert {path: path.stat().st_mtime_ns for path in tiny_run.glob("members/*/*/*")} == before
    assert not [event for event in events if event.kind in ("epoch", "fold")]


DRIVER = """
import os, signal, sys
import torch
from base_models.training import checkpoints
from base_models.training import epoch
from base_models.runs import fold_chunks, fold_record, stores
from base_models.runs import splits as run_data
from base_models.recipe.data import DataConfig
from base_models.runs.out_of_fold import run_training
from base_models.testing import tiny_recipe

photos, out = sys.argv[1:]
recipe = tiny_recipe(DataConfig("folder", photos, group_column="group", split_column="split"))
epoch.SECONDS_BETWEEN_REPORTS = -1.0

def die(): os.kill(os.getpid(), signal.SIGKILL)

def at_event(kind, member, fold, epoch, step):
    def watch(event):
        if (event.kind, event.member, event.fold, event.epoch, event.step) == (kind, member, fold, epoch, step): die()
    return watch

def before(module, name, wanted):
    def prepare():
        real = getattr(module, name)
        def call(path, *args, **kwargs):
            if str(path).endswith(wanted): die()
            return real(path, *args, **kwargs)
        setattr(module, name, call)
    return prepare

kills = [
    (before(run_data, "write_npz", "splits.npz"), None),
    (None, at_event("step", "whole", 0, 2, 2)),
    (before(checkpoints, "atomic_write_json", "fold1/last.json"), None),
    (before(fold_chunks, "write_npz", "fold1/oof.npz"), None),
    (before(fold_record, "atomic_write_json", "frequent/fold0/done.json"), None),
    (None, at_event("step", "rare", 1, 1, 1)),
    (None, lambda event: event.kind == "store" and die()),
]
ends = []
for prepare, progress in [*kills, (None, None)]:
    child = os.fork()
    if not child:
        try:
            if prepare: prepare()
            run_training(recipe, out, device="cpu", progress=progress)
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    ends.append(os.waitpid(child, 0)[1])
print(ends)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_seven_kills_and_one_more_start_give_bit_for_bit_the_uninterrupted_run(tiny_run, tiny_photos, tmp_path):
    environment = {**os.environ, "PYTHONPATH": PACKAGE_ROOT, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", DRIVER, tiny_photos.root, str(tmp_path / "run")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=850, check=False)
    assert done.stdout.strip().endswith(str([9] * 7 + [0])), done.stdout + done.stderr
    for member in ("whole", "frequent", "rare"):
        for fold in range(2):
            ours, theirs = (run / "members" / member / f"fold{fold}" for run in (tmp_path / "run", tiny_run))
            assert (ours / "weights.safetensors").read_bytes() == (theirs / "weights.safetensors").read_bytes()
            assert sorted(p.name for p in ours.iterdir()) == sorted(p.name for p in theirs.iterdir())
    for name in ("oof", "test"):
        ours, theirs = load_predictions(tmp_path / "run" / name), load_predictions(tiny_run / name)
        np.testing.assert_array_equal(ours.to_array(), theirs.to_array())
        assert ours.fingerprint == theirs.fingerprint
    assert not list((tmp_path / "run").rglob(".tmp-*"))


@pytest.fixture
def small(tmp_path):
    """A recipe of one member that trains in a moment."""
    recipe = tiny_recipe(write_tiny_photos(tmp_path / "photos", 16, 4))
    member = replace(recipe.members[0], training=replace(recipe.members[0].training, epochs=1))
    return replace(recipe, members=(member,), derived=())


def test_unreadable_and_missing_photos_are_recorded_counted_and_left_out(small, tmp_path):
    (tmp_path / "photos" / "photo001.png").write_bytes(b"")
    (tmp_path / "photos" / "photo017.png").write_bytes((tmp_path / "photos" / "photo017.png").read_bytes()[:60])
    (tmp_path / "photos" / "photo003.png").unlink()
    run = run_training(small, tmp_path / "run", device="cpu")
    with (run / "failures.csv").open(newline="") as file:
        reasons = {row["id"]: row["reason"] for row in csv.DictReader(file)}
    assert set(reasons) == {"photo001", "photo003", "photo017"} and all(reasons.values())
    assert load_predictions(run / "oof").n_samples == 14 and load_predictions(run / "test").n_samples == 3
    data = json.loads((run / "manifest.json").read_text())["data"]
    assert (data["n_unreadable"], data["n_missing"], data["n_photos"]) == (2, 1, 17)


def test_photos_that_are_not_kept_in_memory_give_the_same_run(small, tmp_path):
    ways = {"packed": {}, "kept": {"photos_gib": 0.0}, "decoded": {"photos_gib": 0.0, "cache": "none"}}
    ways["packed and kept"] = {"cache": "memory"}
    (tmp_path / "photos" / "photo004.png").write_bytes(b"no photo")
    runs = {
        name: run_training(replace(small, **changes), tmp_path / name, device="cpu") for name, changes in ways.items()
    }
    assert [name for name, run in runs.items() if (run / "photos").is_dir()] == ["packed", "packed and kept"]
    assert len({recipe_hash(replace(small, **changes)) for changes in ways.values()}) == 1
    for name in ways:
        for store in ("oof/scores/0000.npy", "test/scores/0000.npy", "splits.npz", "failures.csv"):
            assert (runs[name] / store).read_bytes() == (runs["decoded"] / store).read_bytes(), (name, store)


def test_a_shared_folder_of_packs_serves_runs_of_fewer_photos_and_none_is_decoded_again(small, tmp_path, monkeypatch):
    from base_models.packed import packing
    from base_models.photos import tensors

    shared = replace(small, photos_folder=str(tmp_path / "packed"))
    run_training(shared, tmp_path / "a", device="cpu")
    shutil.rmtree(tmp_path / "packed")
    run_training(shared, tmp_path / "a", device="cpu")
    assert not (tmp_path / "packed").exists()  # a finished run asks for nothing
    run_training(shared, tmp_path / "b", device="cpu")
    monkeypatch.setattr(packing, "decode_photo", None)
    monkeypatch.setattr(tensors, "letterbox", None)
    fewer = replace(shared, data=replace(shared.data, n_train=12))
    run_training(fewer, tmp_path / "c", device="cpu")
    assert not list(tmp_path.glob("*/photos/photos-*"))
    with pytest.raises(
        ValueError, match=r"photos_folder must have room for the packed photos: .*; or set photos_gib = 0"
    ):
        (tmp_path / "file").write_text("mine")
        run_training(replace(shared, photos_folder=str(tmp_path / "file" / "x")), tmp_path / "d", device="cpu")


@pytest.mark.parametrize("changes", [{}, {"photos_gib": 0.0, "cache": "memory"}], ids=["packed", "kept"])
def test_a_size_that_another_member_has_had_is_not_decoded_again(small, tmp_path, monkeypatch, changes):
    """Also where a member of another size stands between the two."""
    from base_models.packed import packing
    from base_models.photos import tensors

    decoded = Counter()

    def counting(module):
        real = module.letterbox
        monkeypatch.setattr(module, "letterbox", lambda photo, size: (decoded.update([size]), real(photo, size))[1])

    counting(tensors)
    counting(packing)
    whole = small.members[0]
    members = (whole, replace(whole, name="larger", size=48), replace(whole, name="again"))
    run_training(replace(small, members=members[:2], **changes), tmp_path / "two", device="cpu")
    without, _ = dict(decoded), decoded.clear()
    run_training(replace(small, members=members, **changes), tmp_path / "three", device="cpu")
    assert decoded == without and set(decoded) >= {32, 48}


def test_replayed_steps_are_ignored_off_a_card_and_said_so_once(small, tmp_path, caplog):
    def with_graphs(member):
        return replace(member, training=replace(member.training, cuda_graphs=True))

    asking = replace(small, members=tuple(map(with_graphs, small.members)))
    run = run_training(asking, tmp_path / "run", device="cpu")
    said = [record.message for record in caplog.records if "cuda_graphs" in record.message]
    assert said == [
        f"cuda_graphs of {small.members[0].name} is ignored: it needs one process on a CUDA device, and there is one "
        "on cpu"
    ]
    history = (run / "members" / small.members[0].name / "fold0" / "history.csv").read_text()
    assert "replayed_steps" not in history


def test_the_order_of_members_does_not_matter(small, tmp_path):
    other = replace(small.members[0], name="other")
    first = run_training(replace(small, members=(small.members[0], other)), tmp_path / "a", device="cpu")
    second = run_training(replace(small, members=(other, small.members[0])), tmp_path / "b", device="cpu")
    for name in ("whole", "other"):
        left, right = (load_predictions(run / "oof").model_scores(name) for run in (first, second))
        np.testing.assert_array_equal(left, right)


def test_a_changed_data_set_is_refused_on_resume(small, tmp_path):
    run = run_training(small, tmp_path / "run", device="cpu")
    table = tmp_path / "photos" / "annotations.csv"
    text = table.read_text()
    table.write_text(text.replace("place:top", "place:bottom", 1))
    with pytest.raises(ValueError, match="must have the labels that this run was started with"):
        run_training(small, run, device="cpu")
    table.write_text("\n".join(line for line in text.splitlines() if "photo005" not in line) + "\n")
    with pytest.raises(ValueError, match="1 are gone, for example 'photo005'"):
        run_training(small, run, device="cpu")


def test_a_damaged_chunk_is_named(small, tmp_path):
    run = run_training(small, tmp_path / "run", device="cpu")
    chunk = run / "members" / "whole" / "fold1" / "oof.npz"
    chunk.write_bytes(chunk.read_bytes()[:-1])
    with pytest.raises(ValueError, match=r"fold1/oof\.npz is missing or damaged; delete .*fold1 to train it"):
        run_training(small, run, device="cpu")


def test_what_cannot_work_is_refused_before_any_training(small, tmp_path):
    member = small.members[0]
    for wrong, message in {
        replace(small, members=(replace(member, network="test_resnext"),)): "must be a timm name",
        replace(small, members=(member, replace(member, name="b", weights="gone.pth"))): "gone.pth is not there",
        replace(small, members=(member, replace(member, name="b", labels="frequent", split_count=99))): "no label is",
        replace(small, folds=replace(small.folds, n_folds=9)): "at least two photos a fold",
    }.items():
        with pytest.raises(ValueError, match=message):
            run_training(wrong, tmp_path / message[:4], device="cpu")
        assert not list(tmp_path.glob(f"{message[:4]}/members"))


def test_errors_name_member_and_fold(small, tmp_path):
    member = small.members[0]
    steep = replace(member, training=replace(member.training, learning_rate=1e30, clip_norm=0.0))
    with pytest.raises(ValueError, match="member 'whole', fold 1 of 2: learning_rate of member"):
        run_training(replace(small, members=(steep,)), tmp_path / "run", device="cpu")


def test_a_member_that_fails_is_recorded_and_the_run_goes_on(small, tmp_path):
    member = small.members[0]
    steep = replace(member, name="steep", training=replace(member.training, learning_rate=1e30, clip_norm=0.0))
    recipe = replace(small, members=(steep, member), derived=(DerivedMember("both", ("steep", "whole")),))
    run = run_training(recipe, tmp_path / "run", device="cpu")
    failed = json.loads((run / "manifest.json").read_text())["failed_members"]
    assert list(failed) == ["steep"] and "fold 1 of 2: learning_rate" in failed["steep"]
    assert load_predictions(run / "oof").models == load_predictions(run / "test").models == ("whole",)
    assert predict(run, tmp_path / "photos", device="cpu").models == ("whole",)


def test_progress_tells_member_fold_epoch_and_time_left(small, tmp_path):
    events = []
    run_training(small, tmp_path / "run", device="cpu", progress=events.append)
    epochs = [event for event in events if event.kind == "epoch"]
    assert [(e.member, e.fold, e.n_folds, e.epoch) for e in epochs] == [("whole", 0, 2, 1), ("whole", 1, 2, 1)]
    assert epochs[0].seconds_left > 0 == epochs[1].seconds_left
    assert epochs[0].images_per_second > 0 and 0 <= epochs[0].validation_micro_f1 <= 1
    assert {"photos", "fold", "member", "store"} <= {event.kind for event in events}


def test_devices_that_are_not_there_are_refused():
    assert choose_device("cpu") == "cpu"
    with pytest.raises(ValueError, match="device must be auto, cpu, cuda or cuda:N: got 'tpu'"):
        choose_device("tpu")
    with pytest.raises(ValueError, match="must be auto"):
        choose_device("cpu:1")
    with pytest.raises(ValueError, match=r"device 'cuda:99' must be present: torch finds \d+ GPUs"):
        choose_device("cuda:99")


def test_a_member_keeps_its_settings_from_training_to_new_photos(small, tmp_path):
    counts = load_manifest(small.data, Path()).y_true[:16].sum(axis=0)
    floor = int(np.sort(counts)[2])
    training = replace(small.members[0].training, flip_tta=True, train_share=0.5, min_label_count=floor)
    member = replace(small.members[0], training=training)
    whole = replace(small.members[0], name="other")
    run = run_training(replace(small, members=(member, whole)), tmp_path / "run", device="cpu")
    test, oof = load_predictions(run / "test"), load_predictions(run / "oof")
    assert test.covers[0].tolist() == oof.covers[0].tolist() == (counts >= floor).tolist()
    done = json.loads((run / "members" / "whole" / "fold0" / "done.json").read_text())
    splits = read_npz(run / "splits.npz")
    n_rows = ((splits["split"] == "train") & (splits["fold"] != 0) & ~splits["validation"][:, 0]).sum()
    assert done["flip_tta"] is True and done["n_train"] == round(n_rows / 2)
    found = predict(run, tmp_path / "photos", device="cpu")
    at = [found.ids.tolist().index(name) for name in test.ids]
    np.testing.assert_allclose(found.to_array()[:, at], test.to_array(), atol=1e-6)


def test_labels_with_their_own_best_epochs_go_from_training_to_new_photos(small, tmp_path):
    training = replace(small.members[0].training, keep="best-per-label", epochs=3)
    run = run_training(
        replace(small, members=(replace(small.members[0], training=training),)), tmp_path / "run", device="cpu"
    )
    metadata = [json.loads(path.read_text()) for path in sorted(run.glob("members/whole/*/done.json"))]
    assert all(len(fact["label_epochs"]) == 6 for fact in metadata) and any(
        len(set(f["label_epochs"])) > 1 for f in metadata
    )
    found, test = predict(run, tmp_path / "photos", device="cpu"), load_predictions(run / "test")
    at = [found.ids.tolist().index(name) for name in test.ids]
    np.testing.assert_allclose(found.to_array()[:, at], test.to_array(), atol=1e-6)


def test_a_longer_recipe_adds_members_to_the_run_and_leaves_finished_ones_alone(tiny_run, tiny_photos, tmp_path):
    recipe = tiny_recipe(tiny_photos)
    run = run_training(replace(recipe, members=recipe.members[1:], derived=()), tmp_path / "run")
    before = {path: path.stat().st_mtime_ns for path in run.glob("members/*/fold*/*")}
    assert load_predictions(run / "oof").models == ("frequent", "rare")
    run_training(recipe, run)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    for store in ("oof", "test"):
        index = json.loads((run / store / "index.json").read_text())
        assert index["files"] == json.loads((tiny_run / store / "index.json").read_text())["files"]
    assert json.loads((run / "manifest.json").read_text())["recipe_hash"] == recipe_hash(recipe)
    with pytest.raises(ValueError, match="out must belong to this recipe"):
        run_training(replace(recipe, members=recipe.members[1:], derived=()), run)
