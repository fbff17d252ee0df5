"""Packed photos: the pixels of decoding, whoever wrote them and however often it was interrupted."""

import json
import os
import pickle
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.manifest import load_manifest, load_photo_folder  # noqa: E402
from base_models.packed import packing, photo_pack  # noqa: E402
from base_models.packed.packing import PackOptions, pack_photos  # noqa: E402
from base_models.photos.tensors import PhotoTensors, check_photos  # noqa: E402
from base_models.testing import write_tiny_photos  # noqa: E402
from stacking.files.atomic_files import OutputRefusedError  # noqa: E402
from stacking.files.run_lock import FolderInUseError, run_lock  # noqa: E402

ALONE = PackOptions(n_workers=0)
SIZES = (24, 40)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    for module in (packing, photo_pack):
        monkeypatch.setattr(module, "BLOCK_PHOTOS", 4)
    monkeypatch.setattr(packing, "SECONDS_BETWEEN_LEDGERS", 0.0)


@pytest.fixture
def manifest(tmp_path):
    config = write_tiny_photos(tmp_path / "photos", 15, 3)
    (tmp_path / "photos" / "photo002.png").write_bytes(b"<html>not found</html>")
    return load_manifest(config, Path())


def pack(manifest, folder, sizes=SIZES, options=ALONE, **more):
    return pack_photos(manifest.ids, manifest.photos, sizes, folder, options, **more)


def content(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def decoded(manifest, size):
    source = PhotoTensors(manifest, np.arange(len(manifest)), size, cache="none")
    return next(iter(source.iter_batches([np.arange(len(manifest))])))[1], source.failures


@pytest.mark.parametrize("cache", ["none", "auto", "memory"])
def test_packed_photos_are_those_that_decoding_gives(manifest, tmp_path, cache):
    for size, packed in pack(manifest, tmp_path / "packed").items():
        expected, failures = decoded(manifest, size)
        assert packed.failures == failures and list(failures) == [2] and failures[2].startswith("photo002: neither")
        rows = np.array([5, 2, 5, 17, 0])
        source = PhotoTensors(manifest, rows, size, cache=cache, packed=pickle.loads(pickle.dumps(packed.select(rows))))
        assert source.in_memory == (cache == "memory")  # the system keeps what was read of a pack
        assert check_photos(source) == {1: failures[2]}
        batches = [np.array([4, 1]), np.array([0, 2, 3])]
        for reuse in (False, True):
            for at, (_, photos) in zip(batches, source.iter_batches(batches, reuse=reuse), strict=True):
                assert torch.equal(photos, expected[torch.from_numpy(rows[at])])
                assert photos.stride() == expected[:2].stride()
        together = list(source.iter_batches(batches))  # without reuse, batches may be kept
        assert torch.equal(together[0][1], expected[[0, 2]])


def test_how_many_processes_wrote_it_changes_no_byte(manifest, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    counts = []
    pack(manifest, one, on_photos=counts.append)
    assert counts == [4, 8, 12, 16, 18]
    pack(manifest, two, options=PackOptions(n_workers=1))
    assert content(one) == content(two)


def test_a_pack_serves_every_list_of_its_photos_wherever_they_lie(manifest, tmp_path, monkeypatch):
    pack(manifest, tmp_path / "packed")
    shutil.copytree(tmp_path / "photos", tmp_path / "elsewhere")
    ids, photos = load_photo_folder(tmp_path / "elsewhere")
    monkeypatch.setattr(packing, "decode_photo", None)  # nothing is decoded from here on
    some = np.array([7, 2, 3])
    found = pack_photos(ids[some], photos.select(some), [40], tmp_path / "packed", ALONE)[40]
    assert found.rows.tolist()[0] == 7 and found.failures.keys() == {1}
    taken = torch.empty(2, 40, 40, 3, dtype=torch.uint8)
    found.take(np.array([2, 1]), taken)
    assert torch.equal(taken[0].permute(2, 0, 1), decoded(manifest, 40)[0][3]) and (taken[1] == 255).all()


def test_another_photo_of_the_same_size_and_time_is_another_photo(manifest, tmp_path):
    pack(manifest, tmp_path / "packed")
    path = tmp_path / "photos" / "photo005.png"
    before, data = path.stat(), bytearray(path.read_bytes())
    other = next(p for p in sorted(path.parent.glob("*.png")) if p.read_bytes() != data and p.stat().st_size > 60)
    data = other.read_bytes()[: len(data)]  # perhaps cut: then it cannot be decoded, which is another answer, too
    path.write_bytes(data.ljust(before.st_size, b"\0"))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    again = load_manifest(write_config(tmp_path), Path())
    packed = pack(again, tmp_path / "packed")[24]
    taken = torch.empty(18, 24, 24, 3, dtype=torch.uint8)
    packed.take(np.arange(18), taken)
    assert torch.equal(taken.permute(0, 3, 1, 2), decoded(again, 24)[0])
    assert len(list((tmp_path / "packed").glob("photos-*"))) == 2


def write_config(tmp_path):
    from base_models.recipe.data import DataConfig

    return DataConfig("folder", str(tmp_path / "photos"), group_column="group", split_column="split")


def test_a_killed_call_keeps_its_blocks_and_ends_with_the_same_bytes(manifest, tmp_path, monkeypatch):
    pack(manifest, tmp_path / "whole")
    place, moments = tmp_path / "packed", ["note", "note", "commit", "_reserve"]
    for number, name in enumerate(moments):
        child = os.fork()
        if not child:
            real = getattr(packing.PackWriter, name)

            def die(*args, real=real, name=name):
                if name == "note":
                    real(*args)
                os.kill(os.getpid(), signal.SIGKILL)

            setattr(packing.PackWriter, name, die)
            try:
                pack(manifest, place)
            finally:
                os._exit(1)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL, number
        assert photo_pack.find_packed(place, manifest.ids, *photo_pack.read_keys(manifest.photos), 24) is None
    # killed between renaming and the index
    folder = next(place.glob("photos-*"))
    (folder / "24px.npy.part").replace(folder / "24px.npy")
    read = []
    real = packing.decode_photo
    monkeypatch.setattr(packing, "decode_photo", lambda data, **how: read.append(how["name"]) or real(data, **how))
    pack(manifest, place)
    assert content(place) == content(tmp_path / "whole")
    assert not read  # all blocks had been written before the kill in commit
    pack(manifest, place, sizes=(16,))  # a size is added later
    assert len(read) == 18 - 1 + 1
    assert set(json.loads((folder / "index.json").read_text())["sizes"]) == {"16", "24", "40"}


def test_damage_is_found_and_only_its_block_decoded_again(manifest, tmp_path, monkeypatch, caplog):
    pack(manifest, tmp_path / "packed")
    before = content(tmp_path / "packed")
    path = next(tmp_path.glob("packed/photos-*/24px.npy"))
    damaged = bytearray(path.read_bytes())
    damaged[-5] ^= 1
    path.write_bytes(damaged)
    read = []
    real = packing.decode_photo
    monkeypatch.setattr(packing, "decode_photo", lambda data, **how: read.append(how["name"]) or real(data, **how))
    pack(manifest, tmp_path / "packed")
    assert "24px.npy is damaged; what is lost is decoded again" in caplog.text
    assert read == ["photo016", "photo017"]
    assert content(tmp_path / "packed") == before
    path.write_bytes(path.read_bytes()[:-100])
    pack(manifest, tmp_path / "packed")
    assert content(tmp_path / "packed") == before


def test_too_little_disk_is_one_sentence_before_the_work(manifest, tmp_path, monkeypatch):
    monkeypatch.setattr(packing, "decode_photo", None)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2**20 + 1000))
    with pytest.raises(OSError, match=r"too little space: 1\.2 MiB needed, 1\.0 MiB free"):
        pack(manifest, tmp_path / "packed")
    assert not list(tmp_path.glob("packed/photos-*"))


def test_what_takes_more_than_allowed_is_left_out_unless_it_is_there(manifest, tmp_path, caplog):
    assert pack(manifest, tmp_path / "packed", options=replace(ALONE, most_bytes=18 * 3 * 24**2 - 1)) == {}
    assert "18 photos are not packed: at 24, 40 pixels" in caplog.text and not (tmp_path / "packed").exists()
    pack(manifest, tmp_path / "packed", sizes=[24])
    assert list(pack(manifest, tmp_path / "packed", options=replace(ALONE, most_bytes=1))) == [24]


def test_what_is_not_ours_is_refused_and_one_writer_at_a_time(manifest, tmp_path):
    place = tmp_path / "packed"
    place.mkdir()
    (place / "notes.txt").write_text("mine")
    with pytest.raises(OutputRefusedError, match=r"notes\.txt"):
        pack(manifest, place)
    (place / "notes.txt").unlink()
    with run_lock(place), pytest.raises(FolderInUseError):
        pack(manifest, place, options=replace(ALONE, waits=False))
    pack(manifest, place)
    folder = next(place.glob("photos-*"))
    (folder / "mine.npy").write_text("mine")
    with pytest.raises(OutputRefusedError, match=r"mine\.npy"):
        pack(manifest, place, sizes=[16])
    with pytest.raises(ValueError, match="between 8 and 4096 pixels: got 4"):
        pack(manifest, place, sizes=[4])


def test_photos_that_change_while_they_are_packed_are_noticed(manifest, tmp_path, monkeypatch):
    real = packing.read_keys

    def read_then_change(photos, n_threads):
        keys = real(photos, n_threads)
        (tmp_path / "photos" / "photo007.png").unlink()
        return keys

    monkeypatch.setattr(packing, "read_keys", read_then_change)
    with pytest.raises(ValueError, match="photo007 did; run again"):
        pack(manifest, tmp_path / "packed")


def test_a_photo_without_a_file_is_white_and_costs_the_others_nothing(manifest, tmp_path, monkeypatch):
    pack(manifest, tmp_path / "packed")
    (tmp_path / "photos" / "photo009.png").unlink()  # after the folder was listed
    monkeypatch.setattr(packing, "decode_photo", None)
    packed = pack(manifest, tmp_path / "packed")[24]
    assert list(packed.failures) == [2, 9] and "photo009: photo009.png: No such file" in packed.failures[9]
    taken = torch.zeros(1, 24, 24, 3, dtype=torch.uint8)
    packed.take(np.array([9]), taken)
    assert (taken == 255).all()
