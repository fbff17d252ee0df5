"""Kills and other accidents of a training run: the same command ends with the same bytes, and says what is broken."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from base_models.runs.out_of_fold import run_training  # noqa: E402
from base_models.testing import tiny_recipe, write_tiny_photos  # noqa: E402
from base_models.training.checkpoints import load_checkpoint  # noqa: E402

PACKAGE_ROOT = str(Path(__file__).parents[3])
ENVIRONMENT = {**os.environ, "PYTHONPATH": PACKAGE_ROOT, "OMP_NUM_THREADS": "1"}

# Every attempt is a process of its own, forked so that torch is imported once. An attempt dies by SIGKILL at one exact
# place: in the middle of an epoch, or after half the bytes of one file are on the disk under its temporary name.
DRIVER = """
import os, signal, sys
from dataclasses import replace
from base_models.training import checkpoints
from base_models.training import epoch
from base_models.runs import fold_chunks
from base_models.runs import folder as run_folder
from base_models.recipe.data import DataConfig
from base_models.recipe.folds import FoldConfig
from base_models.runs.out_of_fold import run_training
from base_models.testing import tiny_recipe
from stacking.files import atomic_files

photos, out, n_workers, last = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
recipe = tiny_recipe(DataConfig("folder", photos, group_column="group", split_column="split"))
recipe = replace(recipe, members=recipe.members[:1], derived=(), cache="none", n_workers=n_workers)
if last == "fold0":  # one network
    recipe = replace(recipe, folds=FoldConfig(scheme="holdout"))
epoch.SECONDS_BETWEEN_REPORTS = -1.0

def die(): os.kill(os.getpid(), signal.SIGKILL)

class HalfWritten:
    def __init__(self, file): self.file = file
    def write(self, data):
        self.file.write(data[:len(data) // 2])
        self.file.flush()
        os.fsync(self.file.fileno())
        die()

def half_of(module, wanted, writer="atomic_write_bytes"):
    real_write, real_create = getattr(module, writer), atomic_files.create_file
    def write(path, data):
        if str(path).endswith(wanted):
            atomic_files.create_file = lambda temporary: Half(real_create(temporary))
        real_write(path, data)
    class Half(HalfWritten):
        def __enter__(self): return self
        def __exit__(self, *_): pass
    setattr(module, writer, write)

def in_epoch(event):
    if (event.kind, event.fold, event.epoch, event.step) == ("step", 0, 2, 2): die()

kills = {
    "epoch": (lambda: None, in_epoch),
    "checkpoint": (lambda: half_of(checkpoints, last + "/last-002.optimizer.pt"), None),
    "chunk": (lambda: half_of(run_folder, last + "/oof.npz", "atomic_write_npz"), None),
    "none": (lambda: None, None),
}

def attempt(place, kill):
    child = os.fork()
    if not child:
        try:
            prepare, progress = kills[kill]
            prepare()
            run_training(recipe, os.path.join(out, place), device="cpu", progress=progress)
            os._exit(0)
        except BaseException:
            import traceback
            traceback.print_exc()
            os._exit(1)
    return os.waitpid(child, 0)[1]

ends = [attempt("whole", "none")]
for name in ("epoch", "checkpoint", "chunk"):
    ends.append(attempt(name, name))
    ends.append(len([f for _, _, files in os.walk(os.path.join(out, name)) for f in files if f.startswith(".tmp-")]))
    ends.append(attempt(name, "none"))
print(ends)
"""


@pytest.fixture(scope="module")
def small_photos(tmp_path_factory):
    """Fewer photos than the tiny ones; tests must not change them."""
    return write_tiny_photos(tmp_path_factory.mktemp("photos"), 24, 4)


def digests(folder):
    """SHA-256 of every file of a folder."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(("n_workers", "last"), [(0, "fold1"), (2, "fold0")])  # two folds; one network and a holdout
def test_after_a_sigkill_in_epoch_checkpoint_or_chunk_the_stores_have_the_same_bytes(
    small_photos, tmp_path, n_workers, last
):
    command = [sys.executable, "-c", DRIVER, small_photos.root, str(tmp_path), str(n_workers), last]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=550, check=False)
    # killed by signal 9, with one half-written file left where a write was hit; then finished. Amid the second epoch
    # the checkpoint of the first may still be under way.
    ends = json.loads(done.stdout.strip().splitlines()[-1])
    assert ends[2] in (0, 1), done.stdout + done.stderr
    assert ends == [0, *(9, ends[2], 0), *(9, 1, 0), *(9, 1, 0)], done.stdout + done.stderr
    whole = {store: digests(tmp_path / "whole" / store) for store in ("oof", "test")}
    assert len(whole["oof"]) >= 6
    for name in ("epoch", "checkpoint", "chunk"):
        for store in ("oof", "test"):
            assert digests(tmp_path / name / store) == whole[store], (name, store)
        assert json.loads((tmp_path / name / "manifest.json").read_text())["runs_started"] == 2
        assert not list((tmp_path / name).rglob(".tmp-*"))


def children_of(process):
    """Return the processes that a process has started, by the kernel's list."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:  # ended meanwhile
            continue
        if int(rest.split()[1]) == process.pid:
            found.append(int(name.split()[0]))
    return found


def wait_until(condition, seconds=240.0):
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_running(process_id):
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


RECIPE = """
name = "stopped"
n_threads = 1
n_workers = 2
cache = "none"
photos_gib = 0
[data]
format = "folder"
root = "."
group_column = "group"
split_column = "split"
[folds]
n_folds = 2
[[members]]
name = "long"
network = "test_resnet"
size = 32
training = { epochs = 500, batch_size = 6 }
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the kernel's list of processes")
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_stopped_command_keeps_its_checkpoint_says_so_and_leaves_no_children(tmp_path, sent, code):
    write_tiny_photos(tmp_path / "photos", 16, 4)
    (tmp_path / "photos" / "recipe.toml").write_text(RECIPE)
    out, place = tmp_path / "run", tmp_path / "run" / "members" / "long" / "fold0"
    command = ["train", str(tmp_path / "photos" / "recipe.toml"), "--out", str(out), "--device", "cpu", "--quiet"]
    with subprocess.Popen(
        [sys.executable, "-m", "experiments", *command], env=ENVIRONMENT, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            wait_until((place / "last.json").is_file)
            children: list[int] = []
            wait_until(lambda: children.extend(children_of(process)) or children)
            process.send_signal(sent)
            _, said = process.communicate(timeout=240)
        finally:
            process.kill()
    assert process.returncode == code, said
    wait_until(lambda: not any(is_running(child) for child in children), seconds=60)
    saved = load_checkpoint(place)
    assert saved is not None and 1 <= saved.epoch < 500
    assert "Traceback" not in said
    if sent == signal.SIGINT:
        assert "run the same command again to go on" in said


@pytest.fixture
def small(tmp_path):
    """A recipe of one member that trains in a moment."""
    recipe = tiny_recipe(write_tiny_photos(tmp_path / "photos", 16, 4))
    member = replace(recipe.members[0], training=replace(recipe.members[0].training, epochs=2))
    return replace(recipe, members=(member,), derived=())


def interrupted(recipe, out):
    """Train until the second epoch has started, and stop."""

    def interrupt(event):
        if event.kind == "epoch":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_training(recipe, out, device="cpu", progress=interrupt)
    return out / "members" / "whole" / "fold0"


@pytest.mark.parametrize("kind", ["safetensors", "optimizer.pt"])
def test_one_flipped_bit_in_a_checkpoint_is_named_before_training_goes_on(small, tmp_path, kind):
    place = interrupted(small, tmp_path / "run")
    path = place / f"last-001.{kind}"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=rf"fold 1 of 2: .*last-001\.{kind} is missing or damaged; delete .*fold0"):
        run_training(small, tmp_path / "run", device="cpu")
    shutil.rmtree(place)  # what the sentence says
    run_training(small, tmp_path / "run", device="cpu")


def test_one_flipped_bit_in_a_chunk_or_in_the_weights_is_named(small, tmp_path):
    run = run_training(small, tmp_path / "run", device="cpu")
    for name in ("oof.npz", "weights.safetensors"):
        path = run / "members" / "whole" / "fold0" / name
        whole = path.read_bytes()
        data = bytearray(whole)
        data[-1] ^= 1
        path.write_bytes(data)
        with pytest.raises(ValueError, match=rf"fold0/{name} is missing or damaged; delete .*fold0 to train it again"):
            run_training(small, run, device="cpu")
        path.write_bytes(whole)
    run_training(small, run, device="cpu")


def test_a_folder_that_is_deleted_in_the_middle_ends_the_run_with_its_name(small, tmp_path):
    def delete(event):
        if event.kind == "epoch":
            (tmp_path / "run").rename(tmp_path / "gone")  # at once: a checkpoint may be under way
            shutil.rmtree(tmp_path / "gone", ignore_errors=True)

    with pytest.raises((ValueError, OSError), match="run") as raised:
        run_training(small, tmp_path / "run", device="cpu", progress=delete)
    assert str(tmp_path / "run") in str(raised.value)
