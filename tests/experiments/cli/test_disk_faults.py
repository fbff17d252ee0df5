"""Full and read-only disks, vanishing folders, strange paths: one sentence, exit 2, nothing half-written."""

import contextlib
import gc
import importlib
import os
import shutil
import subprocess
import sys

import pytest

from stacking.files.atomic_files import atomic_write_npy, atomic_writer

MIB = 2**20


@pytest.fixture
def make_disk(tmp_path):
    """Mount small disks; only root can."""
    mounted = []

    def make(n_bytes, *, read_only=False):
        place = tmp_path / f"disk{len(mounted)}"
        place.mkdir()
        options = f"size={n_bytes}" + (",ro" if read_only else "")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(place)]
        if sys.platform != "linux" or shutil.which("mount") is None:
            pytest.skip("needs Linux's mount")
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("only root may mount a small disk")
        mounted.append(place)
        return place

    yield make
    gc.collect()  # photos that are mapped into memory keep a disk in use
    for place in mounted:
        subprocess.run(["umount", str(place)], check=True)


def fill(disk):
    """Leave no byte free."""
    with contextlib.suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(65536))


def wrap(monkeypatch, target, before):
    """Do something right before a function is called for the first time."""
    module, name = target.split(":")
    real, done = getattr(importlib.import_module(module), name), []

    def wrapped(*args, **kwargs):
        if not done:
            done.append(before())
        return real(*args, **kwargs)

    monkeypatch.setattr(f"{module}.{name}", wrapped)


@pytest.fixture
def ensemble(labelstack, bundle, tmp_path):
    done = labelstack("fit", bundle, "--method", "greedy", "--out", tmp_path / "ensemble")
    assert done.exit_code == 0, done.output
    return tmp_path / "ensemble"


@pytest.fixture
def recipe(tmp_path):
    pytest.importorskip("torch")
    from base_models.testing import write_tiny_photos

    write_tiny_photos(tmp_path / "photos", 16, 4)
    path = tmp_path / "recipe.toml"
    path.write_text(
        'name = "t"\nn_threads = 1\n[data]\nformat = "folder"\nroot = "photos"\nsplit_column = "split"\n'
        "[folds]\nn_folds = 2\n[training]\nepochs = 1\nbatch_size = 6\n"
        '[[members]]\nname = "m"\nnetwork = "test_resnet"\nsize = 32\n'
    )
    return path


COMMANDS = {
    "train": lambda found, out: ["train", found("recipe"), "--out", out / "run", "--device", "cpu"],
    "fit": lambda found, out: ["fit", found("bundle"), "--method", "mean", "--out", out / "ensemble"],
    "compare": lambda found, out: ["compare", found("bundle"), "--methods", "mean", "--folds", 2, "--out", out / "cmp"],
    "pack": lambda found, out: ["pack", found("bundle"), "--out", out / "store"],
    "pack-bundle": lambda found, out: ["pack", found("bundle"), "--out", out / "bundle.npz"],
    "predict": lambda found, out: ["predict", found("ensemble"), found("bundle"), "--out", out / "labels.csv"],
}
STOPPED_AT = {
    "train": "base_models.training.member:save_checkpoint",
    "fit": "stacking.ensemble.folder:_write_parts",
    "compare": "experiments.reports.comparison_files:write_comparison",
    "predict": "experiments.labeling.label_table:write_labels_csv",
}


def assert_one_sentence(done, *words):
    assert done.exit_code == 2, done.output
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("labelstack: ") and all(word in last for word in words), last
    assert "Traceback" not in done.stderr and "internal" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk_is_found_before_the_work(labelstack, make_disk, request, command, monkeypatch):
    disk = make_disk(MIB // 2)
    arguments = COMMANDS[command](request.getfixturevalue, disk)
    for work in ("stacking.comparison.compare", "stacking.ensemble.ensemble.StackingEnsemble.fit"):
        monkeypatch.setattr(work, lambda *_, **__: pytest.fail("work was started"))
    done = labelstack(*arguments)
    assert_one_sentence(done, str(disk), "space")
    assert [path for path in disk.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_a_read_only_folder_is_found_before_the_work(labelstack, make_disk, request, command):
    disk = make_disk(MIB, read_only=True)
    done = labelstack(*COMMANDS[command](request.getfixturevalue, disk))
    assert_one_sentence(done, str(disk), "cannot be written")


@pytest.mark.parametrize("command", ["train", "fit", "compare", "predict"])
def test_a_disk_that_fills_during_the_work(labelstack, make_disk, request, command, monkeypatch):
    disk = make_disk((132 if command == "train" else 4) * MIB)
    arguments = COMMANDS[command](request.getfixturevalue, disk)
    with monkeypatch.context() as patched:
        wrap(patched, STOPPED_AT[command], lambda: fill(disk))
        done = labelstack(*arguments)
    assert_one_sentence(done, str(disk), "No space left on device", "free some space and run the same command again")
    assert not list(disk.rglob(".tmp-*"))
    assert not [path for path in disk.rglob("*.json") if path.stat().st_size == 0]
    (disk / "filler").unlink()
    again = labelstack(*arguments)
    assert again.exit_code == 0, again.output


@pytest.mark.parametrize("command", ["train", "fit", "compare", "predict"])
def test_a_folder_that_is_deleted_during_the_work(labelstack, request, command, monkeypatch, tmp_path):
    place = tmp_path / "place"
    place.mkdir()
    arguments = COMMANDS[command](request.getfixturevalue, place)
    with monkeypatch.context() as patched:
        wrap(patched, STOPPED_AT[command], lambda: shutil.rmtree(place))
        done = labelstack(*arguments)
    if command == "compare":  # the folder is made again
        assert done.exit_code == 0, done.output
        return
    assert_one_sentence(done, str(place), "No such file or directory")
    place.mkdir(exist_ok=True)
    assert labelstack(*arguments).exit_code == 0


@pytest.mark.parametrize("name", ["Fotos für  Ümlaut 写真", "d" * 200 + "/" + "e" * 200])
@pytest.mark.parametrize("command", COMMANDS)
def test_strange_and_long_paths_work(labelstack, request, command, name, tmp_path):
    place = tmp_path / name
    place.mkdir(parents=True)
    done = labelstack(*COMMANDS[command](request.getfixturevalue, place))
    assert done.exit_code == 0, done.output
    assert list(place.iterdir())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_name_that_is_too_long_is_one_sentence(labelstack, request, command, tmp_path):
    done = labelstack(*COMMANDS[command](request.getfixturevalue, tmp_path / ("n" * 300)))
    assert_one_sentence(done, "File name too long")


def test_no_working_folder_is_written_to(labelstack, make_disk, request, monkeypatch, tmp_path):
    out = tmp_path / "out"
    commands = [COMMANDS[name](request.getfixturevalue, out) for name in ("fit", "compare", "pack", "predict")]
    monkeypatch.chdir(make_disk(MIB, read_only=True))
    for arguments in commands:
        done = labelstack(*arguments)
        assert done.exit_code == 0, done.output


def test_a_full_disk_leaves_no_part_of_a_file(make_disk):
    import numpy as np

    disk = make_disk(MIB // 4)
    (disk / "a.npy").write_bytes(b"old")
    for write in (lambda: atomic_write_npy(disk / "a.npy", np.zeros(MIB)), lambda: write_much(disk / "a.npy")):
        with pytest.raises(OSError, match="cannot be written: No space left on device; free some") as caught:
            write()
        assert caught.value.filename == str(disk / "a.npy")
    assert [path.name for path in disk.iterdir()] == ["a.npy"] and (disk / "a.npy").read_bytes() == b"old"


def write_much(path):
    with atomic_writer(path) as file:
        file.write(bytes(MIB))
        file.flush()
        os.fsync(file.fileno())


def test_an_internal_failure_whose_traceback_cannot_be_kept(monkeypatch, labelstack, bundle, tmp_path):
    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tempfile.mkstemp", full)
    monkeypatch.setattr("experiments.packing.repack", lambda *_, **__: 1 / 0)
    done = labelstack("pack", bundle, "--out", tmp_path / "store")
    assert done.exit_code == 1
    assert "ZeroDivisionError" in done.stderr and "could not be kept (No space left on device)" in done.stderr
