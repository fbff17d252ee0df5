"""The store: round trips, exactly-once writing, damage, kills, memory."""

import json
import os
import pickle
import subprocess
import sys
import textwrap
import tracemalloc

import numpy as np
import pytest

from stacking.predictions import PredictionSet, StoreWriter, is_store, load_store, save_predictions, verify_store


def some_files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def store(full_set, tmp_path):
    return save_predictions(full_set, tmp_path / "store")


def test_round_trip(full_set, store, same_sets):
    loaded = load_store(store)
    same_sets(loaded, full_set)
    assert loaded.fingerprint == full_set.fingerprint
    assert type(loaded.source).__name__ == "CheckedSource"
    same_sets(pickle.loads(pickle.dumps(loaded)), full_set)


def test_everything_works_lazily(full_set, store):
    loaded = load_store(store)
    selection = {"samples": [30, 2, 3, 4, 2], "models": ["specialist", "résumé"], "labels": [4, 0, 5]}
    np.testing.assert_array_equal(loaded.subset(**selection).to_array(), full_set.subset(**selection).to_array())
    np.testing.assert_array_equal(np.concatenate([s for _, s in loaded.iter_rows(7)], axis=1), full_set.to_array())
    np.testing.assert_array_equal(np.concatenate([s for _, s in loaded.iter_labels(4)], axis=2), full_set.to_array())
    np.testing.assert_array_equal(loaded.model_scores(1), full_set.model_scores(1))


def test_a_subset_can_be_saved(full_set, store, tmp_path, same_sets):
    part = load_store(store).subset(samples=[9, 1], models=[2, 0], labels=["red", "x|y"])
    same_sets(load_store(save_predictions(part, tmp_path / "part")), part)


def test_float16_on_disk(full_set, tmp_path, same_sets):
    folder = save_predictions(full_set, tmp_path / "half", dtype="float16")
    assert np.load(folder / "scores" / "0000.npy").dtype == np.float16
    loaded = load_store(folder)
    same_sets(loaded, full_set, atol=2**-11)
    assert loaded.fingerprint == loaded.in_memory().fingerprint
    with pytest.raises(ValueError, match="dtype must be one of 'float32', 'float16': got 'float64'"):
        save_predictions(full_set, tmp_path / "other", dtype="float64")


def test_names_live_only_in_the_index(store):
    index = json.loads((store / "index.json").read_text())
    assert index["models"][0] == "cnn/a" and index["schema_version"] == 1 and index["layout"] == "row-major"
    assert some_files(store / "scores") == ["0000.npy", "0001.npy", "0002.npy"]
    assert set(index["files"]) == set(some_files(store)) - {"index.json"}


def test_rows_in_any_order(full_set, tmp_path):
    writer = StoreWriter(tmp_path / "s", full_set.ids, full_set.models, full_set.labels, covers=full_set.covers)
    scores = full_set.to_array()
    for fold in (3, 1, 0, 4, 2):
        rows = np.flatnonzero(full_set.folds == fold)[::-1]
        for model in full_set.models:
            writer.write(model, rows, full_set.model_scores(model)[rows].astype(np.float64))
    writer.commit()
    np.testing.assert_array_equal(load_store(tmp_path / "s").to_array(), scores)


def test_masks_and_slices_name_rows(tmp_path):
    with StoreWriter(tmp_path / "s", ["a", "b", "c"], ["m"], ["x"]) as writer:
        writer.write(0, np.array([False, True, False]), [[0.5]])
        writer.write("m", slice(0, 3, 2), [[0.25], [0.75]])
    assert load_store(tmp_path / "s").to_array().ravel().tolist() == [0.25, 0.5, 0.75]


def test_each_row_exactly_once(tmp_path):
    writer = StoreWriter(tmp_path / "s", ["a", "b", "c"], ["m", "n"], ["x"])
    writer.write("m", [2], [[0.5]])
    with pytest.raises(ValueError, match="model 'm', row 'c': every row must be written exactly once: got it twice"):
        writer.write("m", [1, 2], [[0.5], [0.5]])
    with pytest.raises(ValueError, match="model 'n', row 'b': every row must be written exactly once"):
        writer.write("n", [0, 1, 1], [[0.5]] * 3)
    writer.write("m", [0, 1], [[0.5]] * 2)
    writer.write("n", [0], [[0.5]])
    with pytest.raises(
        ValueError, match="model 'n': every row must be written: 2 of 3 were not, 'b', 'c'; did a fold fail"
    ):
        writer.commit()
    assert not (tmp_path / "s").exists()
    with pytest.raises(ValueError, match="must still be open for writing"):
        writer.write("n", [1], [[0.5]])


@pytest.mark.parametrize(("scores", "error", "message"), [
    ([[0.5, np.nan]], ValueError, "model 'm', row 'b', label 'y': the score must be a number"),
    ([[0.5, 3.0]], ValueError, "model 'm', row 'b', label 'y': .*got 3.0"),
    ([[0.5]], ValueError, r"scores of model 'm' must have one row per row given.*\(1, 2\): got \(1, 1\)"),
    ([["a", "b"]], TypeError, "scores of model 'm' must hold numbers"),
])  # fmt: skip
def test_bad_scores_are_refused_when_they_come(tmp_path, scores, error, message):
    with pytest.raises(error, match=message), StoreWriter(tmp_path / "s", ["a", "b"], ["m"], ["x", "y"]) as writer:
        writer.write("m", [1], scores)
    assert not (tmp_path / "s").exists()


def test_coverage_in_the_writer(tmp_path):
    metadata = {"covers": [[True, False]]}
    with StoreWriter(tmp_path / "s", ["a"], ["m"], ["x", "y"], **metadata) as writer:
        with pytest.raises(ValueError, match="label 'y': the score must be NaN"):
            writer.write("m", [0], [[0.5, 0.5]])
        writer.write("m", [0], [[0.5, np.nan]])
    assert load_store(tmp_path / "s").covers.tolist() == [[True, False]]


def test_extras_need_no_pickle(tmp_path):
    predictions = PredictionSet(np.zeros((1, 1, 1)), extras={"odd": object()})
    with pytest.raises(TypeError, match=r"extras\['odd'\] must hold numbers or strings"):
        save_predictions(predictions, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_store_is_not_replaced_by_accident(full_set, store, same_sets):
    with pytest.raises(FileExistsError, match="already holds a store: choose another folder or pass overwrite=True"):
        save_predictions(full_set, store)
    part = full_set.subset(models=[0], samples=[1, 2])
    save_predictions(part, store, overwrite=True)
    same_sets(load_store(store), part)
    assert some_files(store / "scores") == ["0000.npy"]


def test_a_store_can_replace_itself(full_set, store, same_sets):
    part = load_store(store).subset(models=[2, 1], samples=slice(0, 40, 3))
    expected = part.in_memory()
    save_predictions(part, store, overwrite=True)
    same_sets(load_store(store), expected)


def test_a_failed_replacement_keeps_the_old_store(full_set, store, same_sets):
    metadata = {"overwrite": True}
    with (
        pytest.raises(ValueError, match="every row must be written"),
        StoreWriter(store, ["a"], ["m"], ["x"], **metadata),
    ):
        pass
    same_sets(load_store(store), full_set)


@pytest.mark.parametrize("name", ["notes.txt", "preds.npy", "scores/mine.npy", "scores/deep/x.npy"])
def test_foreign_folders_are_left_alone(full_set, tmp_path, name):
    path = tmp_path / "s" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="must be empty: it holds"):
        save_predictions(full_set, tmp_path / "s", overwrite=True)
    assert path.read_bytes() == b"mine"


def test_unicode_and_spaces_in_paths(full_set, tmp_path, same_sets):
    same_sets(load_store(save_predictions(full_set, tmp_path / "a b" / "Модели ü")), full_set)


def test_there_is_no_store_without_an_index(store, tmp_path):
    assert is_store(store)
    (store / "index.json").unlink()
    assert not is_store(store)
    with pytest.raises(
        FileNotFoundError, match=r"must be a prediction store: got no index\.json, perhaps an interrupted run"
    ):
        load_store(store)
    with pytest.raises(FileNotFoundError, match="got no such folder"):
        load_store(tmp_path / "none")


@pytest.mark.parametrize("name", ["scores/0001.npy", "ids.npy", "y_true.npy", "covers.npy", "extras/0000.npy"])
def test_one_flipped_bit_names_the_file(store, name):
    data = bytearray((store / name).read_bytes())
    data[-4 if name == "ids.npy" else -1] ^= 2 if name == "ids.npy" else 1  # the last character of an id, not its plane
    (store / name).write_bytes(data)
    with pytest.raises(ValueError, match=rf"{name} is damaged: its SHA-256"):
        load_store(store)
    with pytest.raises(ValueError, match=rf"{name} is damaged: its SHA-256"):
        verify_store(store)
    load_store(store, verify=False)


def test_big_stores_are_hashed_only_when_asked(store, monkeypatch):
    monkeypatch.setattr("stacking.predictions.forms.store_index.HASH_ON_LOAD_BYTES", 10)
    data = bytearray((store / "scores" / "0000.npy").read_bytes())
    data[-1] ^= 1
    (store / "scores" / "0000.npy").write_bytes(data)
    load_store(store)
    with pytest.raises(ValueError, match="SHA-256"):
        load_store(store, verify=True)


def test_a_cut_or_missing_file_is_named(store):
    path = store / "scores" / "0001.npy"
    data = path.read_bytes()
    path.write_bytes(data[:-1])
    with pytest.raises(ValueError, match=r"0001\.npy is damaged: it must have 1088 bytes and has 1087"):
        load_store(store, verify=False)
    path.unlink()
    with pytest.raises(ValueError, match=r"0001\.npy is missing from the store"):
        load_store(store, verify=False)


@pytest.mark.parametrize(("change", "message"), [
    ({"format": "other"}, "is damaged"),
    ({"schema_version": 2}, "has schema 2, of a newer version: this one reads up to 1; upgrade"),
    ({"scores": ["../../etc/passwd.npy"] * 3}, "is damaged .*names a file that no store has"),
    ({"facts": {"y_true": "/etc/passwd"}}, "is damaged .*names a file that no store has"),
    ({"models": ["a", "b"]}, "is damaged .*one score file per model"),
    ({"labels": ["a", "b"]}, "is damaged: its index does not agree with the shape of its scores"),
    ({"n_samples": 7}, "is damaged: its index does not agree"),
    ({"dtype": "int8"}, "is damaged"),
    ({"files": {}}, "is damaged .*no hash for"),
    ({"scores": None}, "is damaged"),
])  # fmt: skip
def test_a_damaged_index(store, change, message):
    index = json.loads((store / "index.json").read_text())
    (store / "index.json").write_text(json.dumps(index | change))
    with pytest.raises(ValueError, match=message):
        load_store(store)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"format": 1}', "[" * 100_000])
def test_an_index_that_is_no_json(store, text):
    (store / "index.json").write_text(text)
    with pytest.raises(ValueError, match=r"index\.json is damaged"):
        load_store(store)


def test_too_little_space_is_an_error_before_work(full_set, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda place: os.terminal_size((0, 0)) and type("D", (), {"free": 100}))
    with pytest.raises(OSError, match=r"too little space: .* needed"):
        save_predictions(full_set, tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_full_disk_while_reserving(full_set, tmp_path, monkeypatch):
    def full(descriptor, offset, size):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.posix_fallocate", full, raising=False)
    with pytest.raises(OSError, match=r"cannot reserve .*No space left on device; free some space"):
        save_predictions(full_set, tmp_path / "s")
    assert not (tmp_path / "s").exists()


KILLS = """
    import os, sys
    from pathlib import Path
    import filelock
    import numpy as np
    from stacking.predictions import PredictionSet, StoreWriter, add_models, is_store, load_store, save_predictions

    def killed_at(number, work):
        count = [0]
        def counting(real):
            def call(*args, **kwargs):
                count[0] += 1
                if count[0] == number:
                    os._exit(9)
                return real(*args, **kwargs)
            return call
        child = os.fork()
        if not child:
            Path.replace, Path.unlink = counting(Path.replace), counting(Path.unlink)
            os.pwrite, os.fsync = counting(os.pwrite), counting(os.fsync)
            work()
            os._exit(0)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def complete(folder):
        for path in folder.rglob("*.npy"):
            np.load(path)
        return is_store(folder)

    os.fsync = lambda descriptor: None
    rng, root = np.random.default_rng(0), Path(sys.argv[1])
    old = PredictionSet(rng.random((2, 9, 3)), y_true=np.ones((9, 3)))
    one = PredictionSet(rng.random((1, 9, 3)), models=["new"])
    new = PredictionSet(rng.random((2, 9, 3)), models=["a", "b"])
    outcomes = {"write": [], "add": [], "replace": []}

    def until_it_ends(name, work):
        for number in range(1, 100):
            folder = root / f"{name}{number}"
            if name != "write":
                save_predictions(old, folder)
            code = killed_at(number, lambda: work(folder))
            outcomes[name].append((code, complete(folder)))
            if complete(folder):
                found = load_store(folder, verify=True)
                assert found.subset(models=[0, 1]).fingerprint in (old.fingerprint, new.fingerprint)
                wanted = new if name == "replace" else old
                assert code == 9 or found.n_models == 3 or found.fingerprint == wanted.fingerprint
            save_predictions(old, folder, overwrite=True)
            assert sorted(path.name for path in (folder / "scores").iterdir()) == ["0000.npy", "0001.npy"]
            assert load_store(folder).fingerprint == old.fingerprint and not list(folder.rglob(".tmp-*"))
            if code == 0:
                return

    until_it_ends("write", lambda folder: save_predictions(old, folder))
    until_it_ends("add", lambda folder: add_models(folder, one))
    until_it_ends("replace", lambda folder: save_predictions(new, folder, overwrite=True))
    assert set(outcomes["write"]) >= {(9, False), (0, True)}, outcomes
    assert set(outcomes["add"]) == {(9, True), (0, True)}, outcomes
    assert set(outcomes["replace"]) == {(9, True), (0, True)}, outcomes
    assert min(map(len, outcomes.values())) > 8, outcomes
"""


def test_killed_at_any_moment(tmp_path):
    script = tmp_path / "kills.py"
    script.write_text(textwrap.dedent(KILLS))
    done = subprocess.run([sys.executable, script, tmp_path / "work"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def big_store(tmp_path_factory):
    """150 MB in three models."""
    folder = tmp_path_factory.mktemp("big") / "store"
    n_samples, n_labels = 100_000, 128
    ids, names = np.arange(n_samples), ["a", "b", "c"]
    with StoreWriter(folder, ids, names, [f"l{i}" for i in range(n_labels)]) as writer:
        for model in range(3):
            for start in range(0, n_samples, 20_000):
                row = (np.arange(start, start + 20_000, dtype=np.float32) + model) / (n_samples + 3)
                writer.write(model, slice(start, start + 20_000), np.repeat(row[:, None], n_labels, axis=1))
    return folder


def test_memory_of_a_pass_is_one_block(big_store):
    predictions = load_store(big_store, verify=False)
    tracemalloc.start()
    try:
        total = sum(float(scores[:, :, 5].sum(dtype=np.float64)) for _, scores in predictions.iter_rows(5_000))
        rows = tracemalloc.get_traced_memory()[1]
        part = predictions.subset(samples=np.arange(0, 100_000, 10), models=["c"], labels=["l7"]).to_array()
        subset = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert total == pytest.approx(3 * (100_000 - 1) / 2 + 3, rel=1e-3)
    assert part.shape == (1, 10_000, 1)
    assert max(rows, subset) < 40e6, f"{rows / 1e6:.0f} MB and {subset / 1e6:.0f} MB for a store of 154 MB"


def test_memory_of_a_pass_by_label_is_bounded(big_store, monkeypatch):
    monkeypatch.setattr("stacking.predictions.score_reader.SLOW_LABEL_BYTES", 16_000_000)
    predictions = load_store(big_store, verify=False)
    tracemalloc.start()
    try:
        labels = [scores[2, 100, 0] for _, scores in predictions.iter_labels()]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_allclose(labels, 102 / 100_003, rtol=1e-6)
    assert peak < 40e6


RESIDENT = """
    import resource, sys
    from stacking.predictions import load_store
    predictions = load_store(sys.argv[1], verify=False)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _, scores in predictions.iter_rows(5_000):
        scores.sum()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux only")
def test_resident_memory_of_a_pass(big_store):
    command = [sys.executable, "-c", textwrap.dedent(RESIDENT), big_store]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert int(done.stdout) < 50_000, f"{done.stdout} KiB for a store of 154 MB"
