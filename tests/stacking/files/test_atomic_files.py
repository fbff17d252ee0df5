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
    OutputRefusedError,
    atomic_write_bytes,
    atomic_write_json,
    atomic_write_npy,
    atomic_write_text,
    atomic_writer,
    check_writable,
    preallocate,
    sha256_file,
    sweep_stale_temps,
)
from stacking.files.run_lock import FolderInUseError, run_lock


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
from stacking.files.run_lock import run_lock
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


def test_what_is_no_regular_file_is_not_replaced(tmp_path):
    (tmp_path / "target").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (
        ("link", "is a link to .*target: links are not followed"),
        ("folder", "folder"),
        ("pipe", "pipe"),
    ):
        with pytest.raises(OutputRefusedError, match=reason):
            atomic_write_text(tmp_path / name, "x")
    assert (tmp_path / "target").read_text() == "mine" and stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "link", "pipe", "target"]


def test_a_file_that_comes_to_be_meanwhile_is_not_replaced(tmp_path):
    path = tmp_path / "f"
    with (
        pytest.raises(OutputRefusedError, match="has come to be meanwhile"),
        atomic_writer(path, replace=False) as file,
    ):
        file.write(b"ours")
        path.write_text("mine")
    assert path.read_text() == "mine" and list(tmp_path.iterdir()) == [path]
    path.unlink()
    atomic_write_text(path, "ours", replace=False)
    assert path.read_text() == "ours" and list(tmp_path.iterdir()) == [path]


def test_a_link_that_comes_to_be_meanwhile_is_not_followed(tmp_path):
    path, target = tmp_path / "f", tmp_path / "target"
    target.write_text("mine")
    with pytest.raises(OutputRefusedError, match="is a link to"), atomic_writer(path) as file:
        file.write(b"ours")
        path.symlink_to(target)
    assert target.read_text() == "mine" and path.is_symlink()


def test_files_that_are_being_written_are_not_swept(tmp_path):
    with atomic_writer(tmp_path / "f") as file:
        assert sweep_stale_temps(tmp_path) == [] == sweep_stale_temps(tmp_path, "f")
        file.write(b"x")
    assert (tmp_path / "f").read_bytes() == b"x"


def test_stale_files_are_swept_by_the_name_that_they_were_to_have(tmp_path):
    stale = [atomic_files.temporary_path(tmp_path, name) for name in ("f", "g")]
    for path in stale:
        path.write_text("part")
    assert sweep_stale_temps(tmp_path, "f") == stale[:1]
    assert list(tmp_path.iterdir()) == stale[1:]


def test_the_probe_of_a_run_that_was_killed_is_swept_by_the_next(tmp_path, monkeypatch):
    with monkeypatch.context() as killed:
        killed.setattr(atomic_files.Path, "unlink", lambda *_, **__: None)
        atomic_files.check_writable(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    atomic_files.check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_stale_folders_are_swept_and_links_to_others_stay(tmp_path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "f").write_text("mine")
    place = tmp_path / "place"
    stale = atomic_files.temporary_path(place)
    stale.mkdir(parents=True)
    (stale / "f").write_text("part")
    atomic_files.temporary_path(place).symlink_to(mine)
    sweep_stale_temps(place)
    assert not stale.exists() and (mine / "f").read_text() == "mine"


def test_the_space_that_is_said_to_be_needed_is_more_than_what_is_free(tmp_path, monkeypatch):
    free = 5 * 2**20
    monkeypatch.setattr(atomic_files.shutil, "disk_usage", lambda _: type("Usage", (), {"free": free}))
    with pytest.raises(OSError, match=r"too little space: 5\.1 MiB needed, 5\.0 MiB free"):
        check_writable(tmp_path, free - atomic_files.SPARE_BYTES + 1)
    check_writable(tmp_path, free - atomic_files.SPARE_BYTES)


def test_no_lock_file_is_left(tmp_path):
    with run_lock(tmp_path / "run"):
        assert [path.name for path in (tmp_path / "run").iterdir()] == [".lock"]
    assert not list((tmp_path / "run").iterdir())


RACE = """
import sys, time
from pathlib import Path
from stacking.files.run_lock import FolderInUseError, run_lock
place, wins = Path(sys.argv[1]), 0
end = time.monotonic() + 0.5
while time.monotonic() < end:
    try:
        with run_lock(place):
            (place / "owner").mkdir()  # fails if another holds the folder
            (place / "owner").rmdir()
            wins += 1
    except FolderInUseError:
        pass
print(wins)
"""


def test_a_lock_whose_file_is_removed_still_lets_one_in_at_a_time(tmp_path):
    command = [sys.executable, "-c", RACE, tmp_path / "run"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert sum(int(out) for out, _ in outputs) > 10
