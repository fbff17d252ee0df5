"""Folds trained side by side by several processes: the bytes of one, whoever is killed."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from base_models.recipe.member import MemberConfig  # noqa: E402
from base_models.recipe.plain import plain_recipe, restore_recipe  # noqa: E402
from base_models.runs import out_of_fold  # noqa: E402
from base_models.runs.out_of_fold import list_devices  # noqa: E402
from base_models.testing import tiny_recipe, write_tiny_photos  # noqa: E402

PACKAGE_ROOT = str(Path(__file__).parents[3])
ENVIRONMENT = {**os.environ, "PYTHONPATH": PACKAGE_ROOT, "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A member of two folds, which train for a few seconds, and one whose training blows up."""
    recipe = tiny_recipe(write_tiny_photos(tmp_path_factory.mktemp("photos"), 16, 4), cache="memory")
    whole = recipe.members[0]
    whole = replace(whole, training=replace(whole.training, epochs=40, ema_decay=0.5))
    high = {"learning_rate": 1e30, "clip_norm": 0.0, "schedule": "constant", "warmup": 0.0}
    bad = replace(whole, name="bad", training=replace(whole.training, **high))
    return replace(recipe, members=(whole, bad), derived=())


def digests(run):
    """SHA-256 of all that does not hold times."""
    files = [*(run / "oof").rglob("*"), *(run / "test").rglob("*"), *run.rglob("*.safetensors"), *run.rglob("*.npz")]
    return {
        str(path.relative_to(run)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()
    }


# Owners of runs, forked, so that torch is imported once; two processes are started by each but the first.
DRIVER = """
import json, os, sys
from base_models.recipe.plain import restore_recipe
from base_models.runs.out_of_fold import run_training

recipe, out = restore_recipe(json.loads(sys.argv[1])), sys.argv[2]

def own(name, n_processes):
    child = os.fork()
    if child:
        print(json.dumps([name, child]), flush=True)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        print(json.dumps([name, code]), flush=True)
        return
    told = []
    try:
        run_training(recipe, os.path.join(out, name), device="cpu", n_processes=n_processes, progress=told.append)
        kinds = sorted({(event.kind, event.member, event.fold) for event in told if event.kind in ("epoch", "member")})
        with open(os.path.join(out, "told.json"), "w") as file:
            json.dump(kinds, file)
        os._exit(0)
    except BaseException:
        import traceback
        traceback.print_exc()
        os._exit(1)

own("alone", 1)
own("pair", 2)
own("pair", 2)
"""


def children_of(owner):
    """Return the processes that a process has started, by the kernel's list."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = stat.read_text().rpartition(")")
        except OSError:  # ended meanwhile
            continue
        if int(rest.split()[1]) == owner and rest.split()[0] != "Z":
            found.append(int(name.split()[0]))
    return found


def is_running(process_id):
    """Tell whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{process_id}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def wait_until(condition, seconds=240.0):
    """Wait for something that another process does."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.05)
    return found


def test_a_recipe_comes_through_a_pipe_as_it_was(small):
    training = replace(small.members[0].training, cuda_graphs=True, sizes=(16, 32), shares=(0.5, 1.0))
    member = MemberConfig("m", "resnet50", labels="tier", tier_counts=(3, 9), tier=1, hidden=(8,), training=training)
    recipe = replace(small, members=(*small.members, member), n_workers=3, cache="none")
    assert restore_recipe(json.loads(json.dumps(plain_recipe(recipe)))) == recipe


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads the kernel's list of processes")
def test_two_processes_leave_the_bytes_of_one_whoever_is_killed_and_a_bad_member_sinks_nothing(small, tmp_path):
    """A child is killed, and replaced; the owner is killed, and its children end; the same call then ends well."""
    command = [sys.executable, "-c", DRIVER, json.dumps(plain_recipe(small)), str(tmp_path)]
    out = tmp_path / "pair"
    with subprocess.Popen(
        command, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as driver:
        try:
            answers = iter(lambda: json.loads(driver.stdout.readline()), None)
            assert next(answers)[0] == "alone" and next(answers) == ["alone", 0]
            owner = next(answers)[1]
            wait_until(lambda: list(out.rglob("start.json")))  # a fold is begun
            children = wait_until(lambda: len(found := children_of(owner)) == 2 and found)
            os.kill(children[0], signal.SIGKILL)
            wait_until(lambda: len(set(children_of(owner)) - {children[0]}) == 2)
            wait_until(lambda: list(out.rglob("last.json")) or list(out.rglob("done.json")))
            children = children_of(owner)
            os.kill(owner, signal.SIGKILL)
            assert next(answers) == ["pair", -signal.SIGKILL]
            wait_until(
                lambda: not any(is_running(child) for child in children), seconds=120
            )  # one may just be starting
            assert next(answers)[0] == "pair"
            _, said = driver.communicate(timeout=400)
        finally:
            driver.kill()
    assert said and "ended (signal 9); another one goes on from its checkpoint" in said
    assert digests(out) == digests(tmp_path / "alone")
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["finished"] and manifest["runs_started"] == 2 and not list(out.rglob(".tmp-*"))
    assert list(manifest["failed_members"]) == ["bad"] and "is not finite" in manifest["failed_members"]["bad"]
    told = json.loads((tmp_path / "told.json").read_text())
    assert [entry[:2] for entry in told if entry[0] == "member"] == [["member", "whole"]]


def test_processes_take_the_gpus_in_turn(monkeypatch):
    monkeypatch.setattr(out_of_fold.torch.cuda, "device_count", lambda: 2)
    assert list_devices("cuda", 3) == ["cuda:0", "cuda:1", "cuda:0"]
    assert list_devices("cuda:1", 2) == ["cuda:1", "cuda:1"] and list_devices("cpu", 2) == ["cpu", "cpu"]
    assert list_devices("cuda", 1) == ["cuda"]
    with pytest.raises(ValueError, match="n_processes must be at least 1: got 0"):
        list_devices("cpu", 0)
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="n_processes must be 1 under torchrun"):
        list_devices("cpu", 2)
