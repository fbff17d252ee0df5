"""Packed photos in an object store: what was packed once is not decoded again, whoever packs or trains."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
fsspec = pytest.importorskip("fsspec")

from typer.testing import CliRunner  # noqa: E402

from base_models.manifest import load_manifest  # noqa: E402
from base_models.packed import packing  # noqa: E402
from base_models.packed.packing import PackOptions, pack_photos  # noqa: E402
from base_models.testing import tiny_recipe, write_tiny_photos  # noqa: E402
from experiments.cli import app  # noqa: E402
from experiments.recipe import load_recipe  # noqa: E402
from experiments.recipe.reading import RecipeError  # noqa: E402
from stacking.files.atomic_files import OutputRefusedError  # noqa: E402

ALONE = PackOptions(n_workers=0)
URL = "memory://bucket/packs"


@pytest.fixture(autouse=True)
def memory(tmp_path, monkeypatch):
    """Begin with an empty store and no copies."""
    monkeypatch.setenv("LABELSTACK_CACHE", str(tmp_path / "first"))
    system = fsspec.filesystem("memory")
    system.store.clear()
    system.pseudo_dirs[:] = [""]
    return system


@pytest.fixture
def manifest(tmp_path):
    config = write_tiny_photos(tmp_path / "photos", 15, 3)
    (tmp_path / "photos" / "photo002.png").write_bytes(b"<html>not found</html>")
    return load_manifest(config, Path())


def another_machine(tmp_path, monkeypatch):
    """Begin with no copies, and count what is decoded."""
    monkeypatch.setenv("LABELSTACK_CACHE", str(tmp_path / "second"))
    decoded = []
    letterbox = packing.letterbox
    monkeypatch.setattr(packing, "letterbox", lambda *given: (decoded.append(given[1]), letterbox(*given))[1])
    return decoded


def pixels(packed):
    out = torch.empty((len(packed), packed.size, packed.size, 3), dtype=torch.uint8)
    packed.take(np.arange(len(packed)), out)
    return out


@pytest.mark.parametrize("scheme", ["memory", "file"])
def test_another_machine_takes_the_photos_that_were_packed(scheme, manifest, tmp_path, monkeypatch):
    url = URL if scheme == "memory" else f"file://{tmp_path}/packs"
    here = pack_photos(manifest.ids, manifest.photos, [24, 40], tmp_path / "here", ALONE)
    pack_photos(manifest.ids, manifest.photos, [24], url, ALONE)
    pack_photos(manifest.ids, manifest.photos, [24, 40], url, ALONE)  # a size is added
    decoded = another_machine(tmp_path, monkeypatch)
    there = pack_photos(manifest.ids, manifest.photos, [24, 40], url, ALONE)
    some = np.array([9, 2, 4])
    part = pack_photos(manifest.ids[some], manifest.photos.select(some), [40], url, ALONE)  # photos of a longer list
    assert not decoded
    for size, packed in there.items():
        assert torch.equal(pixels(packed), pixels(here[size])) and packed.failures == here[size].failures
    assert torch.equal(pixels(part[40]), pixels(here[40])[some]) and list(part[40].failures) == [1]


def test_only_the_sizes_that_are_wanted_are_copied(manifest, tmp_path, monkeypatch):
    pack_photos(manifest.ids, manifest.photos, [24, 40], URL, ALONE)
    decoded = another_machine(tmp_path, monkeypatch)
    pack_photos(manifest.ids, manifest.photos, [24], URL, ALONE)
    assert not decoded
    assert [path.name for path in (tmp_path / "second").rglob("*px.npy")] == ["24px.npy"]


def test_a_put_that_is_cut_short_is_made_up_for(manifest, memory, tmp_path, monkeypatch):
    put = type(memory).put_file

    def fails(self, here, there, **options):
        if there.endswith("40px.npy"):
            raise ConnectionError("the line is dead")
        put(self, here, there, **options)

    with monkeypatch.context() as broken:
        broken.setattr(type(memory), "put_file", fails)
        with pytest.raises(OSError, match=rf"{URL} cannot be written: the line is dead"):
            pack_photos(manifest.ids, manifest.photos, [24, 40], URL, ALONE)
    assert not memory.glob("/bucket/packs/*/index.json")
    pack_photos(manifest.ids, manifest.photos, [24, 40], URL, ALONE)
    decoded = another_machine(tmp_path, monkeypatch)
    pack_photos(manifest.ids, manifest.photos, [24, 40], URL, ALONE)
    assert not decoded


def test_an_array_damaged_on_the_way_is_decoded_again(manifest, memory, tmp_path, monkeypatch):
    good = pack_photos(manifest.ids, manifest.photos, [24], URL, ALONE)[24]
    (name,) = memory.glob("/bucket/packs/*/24px.npy")
    content = bytearray(memory.cat_file(name))
    content[-1] ^= 1
    memory.pipe_file(name, bytes(content))
    expected, decoded = pixels(good), another_machine(tmp_path, monkeypatch)
    assert torch.equal(pixels(pack_photos(manifest.ids, manifest.photos, [24], URL, ALONE)[24]), expected)
    assert decoded


def test_what_holds_no_packs_is_refused_before_any_work(manifest, memory, tmp_path, monkeypatch):
    memory.pipe_file("/bucket/packs/letter.txt", b"dear")
    decoded = another_machine(tmp_path, monkeypatch)
    with pytest.raises(OutputRefusedError, match=rf"{URL} must be new, empty or a folder of packed photos"):
        pack_photos(manifest.ids, manifest.photos, [24], URL, ALONE)
    assert not decoded and memory.find("/bucket") == ["/bucket/packs/letter.txt"]


def test_a_run_trains_on_photos_of_a_url_and_leaves_the_same_bytes(tmp_path, monkeypatch):
    from dataclasses import replace

    from base_models import run_training

    recipe = tiny_recipe(write_tiny_photos(tmp_path / "photos", 16, 4))
    recipe = replace(recipe, members=recipe.members[:1], derived=(), n_threads=1)
    runs = [tmp_path / "plain", tmp_path / "remote"]
    for out, folder in zip(runs, ("", URL), strict=True):
        run_training(replace(recipe, photos_folder=folder), out, device="cpu")
    one, two = ({path.name: path.read_bytes() for path in (out / "oof" / "scores").iterdir()} for out in runs)
    assert one == two
    assert not (runs[1] / "photos").exists()
    assert fsspec.filesystem("memory").glob("/bucket/packs/*/index.json")


def test_the_command_and_the_recipe_take_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tiny_photos(tmp_path / "photos", 15, 3)
    done = CliRunner().invoke(app, ["data", "pack-photos", "photos", "--size", "24", "--out", URL, "--workers", "0"])
    assert done.exit_code == 0, done.output + done.stderr
    said = f"photos_folder = {json.dumps(URL)}"
    assert said in done.output + done.stderr
    assert fsspec.filesystem("memory").glob("/bucket/packs/*/24px.npy")
    text = (Path(__file__).parents[3] / "experiments/recipes/demo.toml").read_text()
    Path("own.toml").write_text(text.replace("seed = 0\n", f"seed = 0\n{said}\n", 1))
    assert load_recipe("own.toml").photos_folder == URL
    Path("own.toml").write_text(text.replace("seed = 0\n", 'seed = 0\nfeatures_folder = "s3://bucket/f"\n', 1))
    with pytest.raises(RecipeError, match=r"features_folder: it must be a path of this machine: got s3://bucket/f"):
        load_recipe("own.toml")
    assert not list(tmp_path.glob("*:*"))
