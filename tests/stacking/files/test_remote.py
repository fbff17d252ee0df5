"""Stores and bundles in an object store: written, read, replaced and refused as on a disk."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

fsspec = pytest.importorskip("fsspec")

import labelstack as ls  # noqa: E402
from experiments.cli import app  # noqa: E402
from stacking.files.atomic_files import OutputRefusedError  # noqa: E402
from stacking.files.output_folder import OutputFolder  # noqa: E402
from stacking.files.output_rules import ResultKind, check_output_file, check_work_folder, url_of  # noqa: E402
from stacking.files.remote import local_copy  # noqa: E402
from stacking.predictions import (  # noqa: E402
    PredictionSet,
    add_by_label_copy,
    load_predictions,
    load_store,
    pack_predictions,
    save_predictions,
)
from stacking.predictions.forms.packing import change_store  # noqa: E402


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    """Keep copies here, and begin with an empty store in memory."""
    monkeypatch.setenv("LABELSTACK_CACHE", str(tmp_path / "caches"))
    monkeypatch.chdir(tmp_path)
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    return memory


@pytest.fixture(params=["memory", "file"])
def root(request, tmp_path):
    """Where the stores are: in memory, or in a folder of this machine."""
    (tmp_path / "bucket" / "deep").mkdir(parents=True)
    return "memory://bucket" if request.param == "memory" else f"file://{tmp_path}/bucket"


def some(seed, n_models=2):
    """Draw a set with all that a store holds."""
    rng = np.random.default_rng(seed)
    return PredictionSet(
        rng.random((n_models, 30, 4)).astype(np.float32),
        [f"photo{row}" for row in range(30)],
        [f"net{model}" for model in range(n_models)],
        ["dress", "red", "silk", "zip"],
        y_true=rng.integers(0, 2, (30, 4)),
        groups=[f"p{row // 3}" for row in range(30)],
    )


@pytest.mark.parametrize("form", ["scores", "scores.npz"])
def test_what_is_put_into_an_object_store_comes_back_and_is_replaced_only_when_asked(root, form):
    place, first, second = f"{root}/deep/{form}", some(0), some(1, 3)
    save_predictions(first, place)
    assert load_predictions(place).fingerprint == first.fingerprint
    with pytest.raises(FileExistsError, match="already"):
        save_predictions(second, place)
    assert load_predictions(place).fingerprint == first.fingerprint
    save_predictions(second, place, overwrite=True)
    assert load_predictions(place).fingerprint == second.fingerprint
    assert ls.load(place).fingerprint == second.fingerprint


def test_a_replaced_store_leaves_none_of_the_old_files(caches):
    pack_predictions(some(0), "memory://bucket/scores", by_label=True)
    pack_predictions(some(1), "memory://bucket/scores", overwrite=True)
    names = [Path(name).name for name in caches.find("/bucket/scores")]
    assert sum(name.startswith("000") for name in names) == 2, names
    assert load_store("memory://bucket/scores", verify=True).fingerprint == some(1).fingerprint


def test_a_reader_finds_the_old_store_until_the_new_one_is_whole(caches, monkeypatch):
    place = "memory://bucket/scores"
    save_predictions(some(0), place)
    put, seen = type(caches).put_file, []

    def watched(self, here, there, **options):
        put(self, here, there, **options)
        seen.append(load_predictions(place).fingerprint)

    monkeypatch.setattr(type(caches), "put_file", watched)
    save_predictions(some(1), place, overwrite=True)
    assert len(seen) > 2
    assert set(seen) == {some(0).fingerprint}
    assert load_predictions(place).fingerprint == some(1).fingerprint


def test_a_failure_in_the_middle_leaves_the_old_store_and_says_where(caches, monkeypatch):
    place = "memory://bucket/scores"
    save_predictions(some(0), place)

    def fails(self, here, there, **options):
        raise RuntimeError("no more room")

    monkeypatch.setattr(type(caches), "put_file", fails)
    with pytest.raises(OSError, match=r"memory://bucket/scores cannot be written: no more room"):
        save_predictions(some(1), place, overwrite=True)
    assert load_predictions(place).fingerprint == some(0).fingerprint


def test_a_put_that_was_killed_is_gone_on_with_and_leaves_nothing(caches):
    place = "memory://bucket/scores"
    save_predictions(some(0), place)
    caches.rm_file("/bucket/scores/index.json")
    ids = next(name for name in caches.find("/bucket/scores") if "/ids" in name)
    caches.pipe_file(ids, caches.cat_file(ids)[:50])
    caches.pipe_file("/bucket/scores/scores/0007-0123456789abcdef.npy", b"of another set")
    save_predictions(some(0), place)
    assert load_store(place, verify=True).fingerprint == some(0).fingerprint
    assert not caches.exists("/bucket/scores/scores/0007-0123456789abcdef.npy")


def test_an_unchanged_store_is_copied_once_and_a_changed_one_again(caches, monkeypatch):
    place, copied = "memory://bucket/scores", []
    save_predictions(some(0), place)
    get = type(caches).get_file
    monkeypatch.setattr(
        type(caches), "get_file", lambda self, there, here, **how: (copied.append(there), get(self, there, here, **how))
    )
    load_predictions(place)
    n_files = len(copied)
    assert n_files == len(caches.find("/bucket/scores"))
    load_predictions(place)
    assert len(copied) == n_files
    save_predictions(some(1), place, overwrite=True)
    assert load_predictions(place).fingerprint == some(1).fingerprint
    assert len(copied) > n_files


def test_damage_on_the_way_is_noticed(caches):
    save_predictions(some(0), "memory://bucket/scores")
    name = next(name for name in caches.find("/bucket/scores") if "/scores/000" in name)
    content = bytearray(caches.cat_file(name))
    content[-1] ^= 1
    caches.pipe_file(name, bytes(content))
    with pytest.raises(ValueError, match="damaged"):
        load_predictions("memory://bucket/scores")


def test_a_manifest_cannot_lead_out_of_the_folder(caches, tmp_path):
    caches.pipe_file("/bucket/evil/m.json", b'{"files": ["../../../outside"]}')
    kind = ResultKind("a poem", "m.json", lambda manifest: manifest["files"])
    with pytest.raises(OutputRefusedError, match="tampered"):
        local_copy("memory://bucket/evil", kind)
    assert not list(tmp_path.rglob("outside"))


def test_tables_truths_and_lists_are_read_from_urls(root):
    system, place = fsspec.core.url_to_fs(f"{root}/tables")
    system.makedirs(place, exist_ok=True)
    system.pipe_file(f"{place}/net.csv", b"id,dress,red\na,0.5,0.25\nb,0.125,1\n")
    system.pipe_file(f"{place}/truth.csv", b"id,dress,red\na,1,0\nb,0,1\n")
    system.pipe_file(f"{place}/ids.txt", b"b\na\n")
    found = load_predictions(
        models=[f"{root}/tables/net.csv"], truth=f"{root}/tables/truth.csv", ids=f"{root}/tables/ids.txt"
    )
    assert found.models == ("net",)
    assert found.y_true.tolist() == [[0, 1], [1, 0]]
    assert found.to_array()[0].tolist() == [[0.125, 1.0], [0.5, 0.25]]


@pytest.mark.parametrize("place", ["memory://bucket/none", "memory://bucket/none.npz"])
def test_what_is_not_there_is_said(place):
    with pytest.raises(FileNotFoundError, match=rf"existing file or a store: there is none at {place}"):
        load_predictions(place)


@pytest.mark.parametrize(
    ("place", "error", "says"),
    [
        ("nosuch://bucket/a", ValueError, "an address that fsspec knows"),
        ("memory://", ValueError, "must name something"),
    ],
)
def test_an_address_that_cannot_be_is_refused(place, error, says):
    for call in (load_predictions, lambda path: save_predictions(some(0), path)):
        with pytest.raises(error, match=says):
            call(place)


def test_a_foreign_folder_is_not_written_to(caches):
    caches.pipe_file("/bucket/mine/letter.txt", b"dear")
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="something else"):
            save_predictions(some(0), "memory://bucket/mine", overwrite=overwrite)
    caches.pipe_file("/bucket/mine.npz/letter", b"dear")
    with pytest.raises(FileExistsError, match="is a folder"):
        save_predictions(some(0), "memory://bucket/mine.npz", overwrite=True)
    assert caches.cat_file("/bucket/mine/letter.txt") == b"dear"


@pytest.mark.parametrize(
    "write",
    [
        lambda place: OutputFolder(place, ResultKind("a poem", "m.json", None)).__enter__(),
        lambda place: check_work_folder(Path(place), ResultKind("a poem", "m.json", None)),
        lambda place: check_output_file(place, overwrite=True),
        lambda place: add_by_label_copy(place),
        lambda place: change_store(place, dropped=["net0"]),
    ],
)
@pytest.mark.parametrize("place", ["s3://bucket/out", Path("s3://bucket/out"), "memory://bucket/out.csv"])
def test_all_other_outputs_refuse_a_url_in_one_sentence(write, place, tmp_path):
    with pytest.raises(OutputRefusedError, match=r"must be a path of this machine: got (s3|memory)://bucket/out"):
        write(place)
    assert not list(tmp_path.glob("*:*"))


@pytest.mark.parametrize(
    "words",
    [
        ["fit", "scores.npz", "--method", "mean", "--out", "s3://bucket/ensemble"],
        ["compare", "scores.npz", "--methods", "mean", "--out", "s3://bucket/comparison"],
        ["train", "recipe.toml", "--out", "s3://bucket/run"],
        ["data", "synthesize", "--out", "s3://bucket/photos"],
        ["demo", "--out", "s3://bucket/demo"],
    ],
)
def test_commands_refuse_to_write_results_to_a_url(words, tmp_path):
    save_predictions(some(0), "scores.npz")
    Path("recipe.toml").write_text((Path(__file__).parents[3] / "experiments/recipes/demo.toml").read_text())
    done = CliRunner().invoke(app, words)
    assert done.exit_code != 0
    assert "path of this machine" in done.output + done.stderr, done.output + done.stderr
    assert not list(tmp_path.glob("*:*"))


def test_the_commands_read_and_pack_urls(root, tmp_path):
    save_predictions(some(0), "scores.npz")
    run = CliRunner()
    for words in (
        ["pack", "scores.npz", "--out", f"{root}/packed", "--by-label"],
        ["pack", "scores.npz", "--out", f"{root}/packed", "--by-label"],  # the very same is there: nothing to do
        ["pack", f"{root}/packed", "--drop", "net1", "--out", f"{root}/one.npz"],
        ["check", f"{root}/packed"],
        ["pack", f"{root}/one.npz", "--add", f"other={root}/packed", "--drop", "net0", "--out", "joined"],
    ):
        done = run.invoke(app, words)
        assert done.exit_code == 0, done.output + done.stderr
    assert load_predictions(f"{root}/one.npz").models == ("net0",)
    assert load_predictions("joined").models == ("other/net0", "other/net1")
    done = run.invoke(app, ["pack", "joined", "--out", f"{root}/packed"])
    assert done.exit_code != 0
    assert "already" in done.output + done.stderr
    assert not list(tmp_path.glob("memory:*")) + list(tmp_path.glob("file:*"))


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("s3://bucket/a b", "s3://bucket/a b"),
        (Path("s3://bucket/a"), "s3://bucket/a"),
        ("S3://Bucket/a", "s3://Bucket/a"),
        (Path("file:///tmp/a"), "file:///tmp/a"),
        ("C:/a", None),
        ("C:\\a", None),
        ("a:b/c", None),
        ("folder/s3:/b", None),
        ("http", None),
        (Path("memory:/a"), "memory://a"),
    ],
)
def test_urls_are_told_from_paths(given, url):
    assert url_of(given) == url
