"""Files are complete or absent, folders are locked, faults of the disk are clear errors."""

import errno
import hashlib
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from stacking.files import atomic_files
from stacking.files.atomic_files import (
    FolderInUseError,
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_npy,
    atomic_write_text,
    atomic_writer,
    check_writable,
    preallocate,
    run_lock,
    sha256_file,
    sweep_stale_temps,
)


def test_contents(tmp_path):
    atomic_write_bytes(tmp_path / "b", b"\0\1")
    atomic_write_text(tmp_path / "t", "ü\r\n")
    atomic_write_json(tmp_path / "j", {"a": np.float32(0.5), "b": np.arange(2), "c": Path("x"), "d": None})
    atomic_write_npy(tmp_path / "n", np.array(["007", "ü"]))
    assert (tmp_path / "b").read_bytes() == b"\0\1"
    assert (tmp_path / "t").read_bytes() == "ü\r\n".encode()
    assert json.loads((tmp_path / "j").read_text()) == {"a": 0.5, "b": [0, 1], "c": "x", "d": None}
    assert np.load(tmp_path / "n").tolist() == ["007", "ü"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "j", "n", "t"]


def test_an_exception_keeps_the_old_file(tmp_path):
    path = tmp_path / "f"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_writer(path) as file:
        file.write(b"new")
        raise KeyboardInterrupt
    assert path.read_text() == "old" and list(tmp_path.iterdir()) == [path]


def test_the_file_is_synced_before_it_is_renamed(tmp_path, monkeypatch):
    calls = []
    fsync, replace = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append(stat.S_ISDIR(os.fstat(fd).st_mode)), fsync(fd))[1])
    monkeypatch.setattr(Path, "replace", lambda self, target: (calls.append("replace"), replace(self, target))[1])
    atomic_write_text(tmp_path / "f", "x")
    assert calls == [False, "replace", True]


def test_permissions_follow_the_umask(tmp_path):
    old = os.umask(0o027)
    try:
        atomic_write_text(tmp_path / "f", "x")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "f").stat().st_mode) == 0o640


def test_long_names_work(tmp_path):
    path = tmp_path / ("ü" * 127)
    atomic_write_text(path, "x")
    assert path.read_text() == "x"


def test_json_holds_no_nan(tmp_path):
    with pytest.raises(ValueError, match=r"report\.json: JSON holds neither NaN nor infinity: write None instead"):
        atomic_write_json(tmp_path / "report.json", {"a": float("nan")})
    with pytest.raises(TypeError, match="value must be plain JSON: got object"):
        atomic_write_json(tmp_path / "report.json", object())
    assert not list(tmp_path.iterdir())


def test_npy_holds_no_objects(tmp_path):
    with pytest.raises(TypeError, match="array must hold numbers or strings: got dtype object"):
        atomic_write_npy(tmp_path / "a.npy", np.array([None]))


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"cannot write into the folder: No such file or directory.*gone"):
        atomic_write_text(tmp_path / "gone" / "f", "x")


def test_sweep_removes_only_temporaries(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in (".tmp-0123456789abcdef", "deep/.tmp-aaaaaaaaaaaaaaaa", ".tmp-short", "tmp-0123456789abcdef", "keep"):
        (tmp_path / name).write_text("x")
    removed = sweep_stale_temps(tmp_path)
    assert sorted(path.name for path in removed) == [".tmp-0123456789abcdef", ".tmp-aaaaaaaaaaaaaaaa"]
    left = sorted(path.name for path in tmp_path.rglob("*"))
    assert left == [".tmp-short", "deep", "keep", "tmp-0123456789abcdef"]
    assert sweep_stale_temps(tmp_path / "none") == []


def test_sweep_knows_the_names_that_are_written(tmp_path):
    atomic_files.temporary_path(tmp_path).write_text("x")
    assert len(sweep_stale_temps(tmp_path)) == 1


def test_sha256(tmp_path):
    (tmp_path / "f").write_bytes(b"abc" * 100_000)
    assert sha256_file(tmp_path / "f") == hashlib.sha256(b"abc" * 100_000).hexdigest()


def test_check_writable_leaves_nothing(tmp_path):
    check_writable(tmp_path / "a" / "b", 10)
    assert not list(tmp_path.iterdir())


def test_too_little_space(tmp_path):
    with pytest.raises(OSError, match=r"too little space: \d+\.\d GiB needed, \d+\.\d GiB free") as caught:
        check_writable(tmp_path, 2**60)
    assert caught.value.errno == errno.ENOSPC


def test_a_file_is_no_output_folder(tmp_path):
    (tmp_path / "f").write_text("x")
    with pytest.raises(NotADirectoryError, match="the output must be a folder: this is a file"):
        check_writable(tmp_path / "f")


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc, which nobody can write")
def test_a_read_only_folder():
    with pytest.raises(PermissionError, match="the output folder cannot be written: choose another"):
        check_writable("/proc/self")
    with pytest.raises(PermissionError, match="the output folder cannot be written"), run_lock("/proc/self"):
        pass


def test_preallocate(tmp_path, monkeypatch):
    with (tmp_path / "f").open("w+b") as file:
        preallocate(file, 1000)
        assert (tmp_path / "f").stat().st_size == 1000

        def unsupported(*args):
            raise OSError(errno.EOPNOTSUPP, "not supported")

        monkeypatch.setattr(os, "posix_fallocate", unsupported, raising=False)
        preallocate(file, 2000)
        assert (tmp_path / "f").stat().st_size == 2000

        def full(*args):
            raise OSError(errno.ENOSPC, "full")

        monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
        with pytest.raises(OSError, match=r"cannot reserve 1\.0 MiB: No space left on device; free some space"):
            preallocate(file, 2**20)


def test_two_runs_in_one_folder(tmp_path):
    with run_lock(tmp_path / "run"):
        with pytest.raises(FolderInUseError, match="another run is working in this folder"), run_lock(tmp_path / "run"):
            pytest.fail("the second run was let in")
        with run_lock(tmp_path / "other"):
            pass
    with run_lock(tmp_path / "run"):
        pass


HOLD = """
import sys, time
from stacking.files.atomic_files import run_lock
with run_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_lock_dies_with_its_process(tmp_path):
    with subprocess.Popen([sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n"
            with pytest.raises(FolderInUseError), run_lock(tmp_path):
                pytest.fail("the second run was let in")
        finally:
            process.kill()
    with run_lock(tmp_path):
        pass
