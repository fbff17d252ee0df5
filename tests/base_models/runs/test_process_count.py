"""How many processes a run on a CPU starts when nobody says."""

import json
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.packed.photo_pack import PackedPhotos  # noqa: E402
from base_models.runs import out_of_fold, process_count  # noqa: E402
from base_models.runs.out_of_fold import run_training  # noqa: E402
from base_models.runs.photo_packs import describe_packed, restore_packed  # noqa: E402
from base_models.runs.process_count import BYTES_PER_PIXEL, PROCESS_BYTES, suitable_processes  # noqa: E402
from base_models.testing import tiny_recipe, write_tiny_photos  # noqa: E402

PLENTY = 2**40


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    recipe = tiny_recipe(write_tiny_photos(tmp_path / "photos", 16, 4))
    return replace(recipe, members=recipe.members[:1], derived=(), n_threads=0)


def test_every_processor_gets_a_process_as_far_as_there_are_folds_and_memory(recipe):
    n_networks = recipe.folds.n_networks
    assert suitable_processes(recipe, 20, "cpu", PLENTY) == n_networks
    many = replace(recipe, members=tuple(replace(recipe.members[0], name=f"m{number}") for number in range(40)))
    assert suitable_processes(many, 20, "cpu", PLENTY) == 8
    assert suitable_processes(replace(many, n_threads=3), 20, "cpu", PLENTY) == 2
    assert suitable_processes(replace(many, n_threads=9), 20, "cpu", PLENTY) == 1
    member = many.members[0]
    each = PROCESS_BYTES + BYTES_PER_PIXEL * member.size**2 * member.training.batch_size
    assert suitable_processes(many, 20, "cpu", 2 * 3 * each) == 3
    assert suitable_processes(many, 20, "cpu", each) == 1


@pytest.mark.parametrize(
    "changes", [{"photos_gib": 0.0}, {"cache": "memory"}, {"photos_gib": 1e-9}], ids=["unpacked", "memory", "too large"]
)
def test_processes_that_would_each_decode_or_hold_the_photos_are_not_started(recipe, changes):
    assert suitable_processes(replace(recipe, **changes), 20, "cpu", PLENTY) == 1


def test_one_process_on_a_card_under_torchrun_and_for_features_that_all_share(recipe, monkeypatch):
    assert suitable_processes(recipe, 20, "cuda", PLENTY) == 1
    waits = replace(recipe, members=(replace(recipe.members[0], features="precomputed", weights="hub"),))
    assert suitable_processes(waits, 20, "cpu", PLENTY) == 1
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert suitable_processes(recipe, 20, "cpu", PLENTY) == 1


@pytest.mark.parametrize(("recorded", "n_started"), [(1, 2), (4, 2), (5, 0)])
def test_a_run_goes_on_with_its_threads_and_no_more_processes_than_these_leave(
    recipe, recorded, n_started, tmp_path, monkeypatch
):
    started = []
    monkeypatch.setattr(process_count, "available_memory", lambda: PLENTY)
    monkeypatch.setattr(out_of_fold, "loader_workers", lambda *_: 0)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: None)

    def note(*given, **how):
        started.append(list(given[3]))
        raise KeyboardInterrupt

    monkeypatch.setattr(out_of_fold, "_train_in_turn", lambda *given: note(*given[:3], []))
    monkeypatch.setattr(out_of_fold, "_train_side_by_side", note)
    with pytest.raises(KeyboardInterrupt):
        run_training(recipe, tmp_path / "run", device="cpu", n_processes=None)
    path = tmp_path / "run" / "manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest["n_threads"] == 8 // recipe.folds.n_networks
    assert started == [["cpu"] * recipe.folds.n_networks]
    path.write_text(json.dumps({**manifest, "n_threads": recorded}))
    with pytest.raises(KeyboardInterrupt):
        run_training(recipe, tmp_path / "run", device="cpu", n_processes=None)
    assert started[1] == ["cpu"] * n_started


def test_packed_photos_come_through_a_pipe_as_they_were(tmp_path):
    in_order = PackedPhotos(tmp_path / "24px.npy", 24, np.arange(5), {2: "photo2: gone"})
    others = PackedPhotos(tmp_path / "40px.npy", 40, np.array([7, 3, 900_000_000_000]), {})
    text = json.dumps(describe_packed({24: in_order, 40: others}))
    back = restore_packed(json.loads(text))
    for size, photos in ((24, in_order), (40, others)):
        assert back[size].path == photos.path and back[size].size == size
        assert back[size].rows.tolist() == photos.rows.tolist() and back[size].rows.dtype == np.int64
        assert back[size].failures == photos.failures
