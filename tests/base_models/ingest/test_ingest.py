"""A folder of good photos and of every fault: the good are ingested, faults have a reason, a rerun does nothing."""

import csv
import json
import os
import signal
import struct
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from base_models.ingest import IngestOptions, ingest_photos
from base_models.ingest.decoder_pool import DecoderPool
from base_models.manifest import load_manifest
from base_models.recipe.data import DataConfig
from stacking.files.run_lock import FolderInUseError, run_lock

OPTIONS = IngestOptions(size=64, workers=2)


def short_png():
    """Valid chunks and checksums, too little picture data: torchvision dies of it."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 200, 200, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 99)) + chunk(b"IEND", b"")
    )


FAULTS = {
    "empty": "the file is empty",
    "html": "neither JPEG",
    "eps": "neither JPEG",
    "cut": "cannot be decoded",
    "short": "cannot be decoded",
    "tiny": "the shorter side below 16",
    "thin": "the shorter side below 16",
    "absent": "no such file",
}


@pytest.fixture
def raw(tmp_path, draw_garment, encode):
    """Eight good photos in all kinds of modes, two copies, a blank, the faults, and the annotations of all."""
    folder = tmp_path / "raw"
    (folder / "sub").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    files = {
        "1.jpg": encode(draw_garment(1)),
        "2.png": encode(draw_garment(2).convert("RGBA"), "PNG"),
        "3.jpg": encode(draw_garment(3).convert("CMYK")),
        "4.gif": encode(draw_garment(4), "GIF", save_all=True, append_images=[draw_garment(40)]),
        "sub/5.webp": encode(draw_garment(5), "WEBP"),
        "006.jpg": encode(draw_garment(6), exif=exif),
        "7.jpg": encode(draw_garment(7), "PNG"),  # a wrong extension
        "8.png": encode(Image.fromarray(np.asarray(draw_garment(8).convert("L")).astype(np.uint16) * 257), "PNG"),
        "copy.jpg": encode(draw_garment(1)),
        "near.jpg": encode(draw_garment(3, (90, 120)).convert("CMYK"), quality=60),
        "white.jpg": encode(Image.new("RGB", (90, 90), "white")),
        "empty.jpg": b"",
        "html.jpg": b"<!doctype html>",
        "eps.jpg": b"%!PS-Adobe-3.0 EPSF-3.0",
        "cut.jpg": encode(draw_garment(9))[:700],
        "short.png": short_png(),
        "tiny.png": encode(Image.new("RGB", (1, 1)), "PNG"),
        "thin.png": encode(Image.linear_gradient("L").resize((1, 6000)), "PNG"),
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    ids = [name.rpartition("/")[2].rsplit(".", 1)[0] for name in files] + ["absent"]
    content = {
        "info": {"version": "2"},
        "images": [{"imageId": i, "url": f"http://example.org/{i}"} for i in ids],
        "annotations": [{"imageId": i, "labelId": [str(n % 3)]} for n, i in enumerate(ids)],
    }
    (tmp_path / "train.json").write_text(json.dumps(content))
    return folder


def ledger_of(out):
    with (out / "ledger.csv").open(newline="", encoding="utf-8") as file:
        return {row["id"]: row for row in csv.DictReader(file)}


GOOD = {"1", "2", "3", "4", "5", "006", "7", "8"}


def test_good_photos_are_ingested_and_every_fault_has_its_reason(raw, tmp_path):
    out = tmp_path / "clean"
    calls = []
    report = ingest_photos(raw, out, tmp_path / "train.json", OPTIONS, progress=lambda *call: calls.append(call))
    assert report.counts == {"kept": 8, "duplicate": 2, "blank": 1, "failed": 7, "missing": 1}
    ledger = ledger_of(out)
    assert {name for name, row in ledger.items() if row["status"] == "kept"} == GOOD
    for name, reason in FAULTS.items():
        assert reason in ledger[name]["reason"], ledger[name]
    assert ledger["copy"]["reason"] == "the same as 1"
    assert ledger["near"]["reason"] == "the same as 3"
    assert calls[-1][:2] == (18, 18)
    kept = {path.stem: path for path in (out / "photos").rglob("*.jpg")}
    assert kept.keys() == GOOD
    for path in kept.values():
        with Image.open(path, formats=("JPEG",)) as image:
            assert (image.size, image.mode) == ((64, 64), "RGB")
    manifest = load_manifest(DataConfig(format="imaterialist-json", root="photos", annotations="annotations.json"), out)
    assert set(manifest.ids.tolist()) == GOOD
    assert manifest.missing == manifest.unannotated == ()
    written = json.loads((out / "annotations.json").read_text())
    assert written["info"] == {"version": "2"}
    assert json.loads((out / "ingest.json").read_text())["counts"] == report.counts


def test_a_rerun_decodes_nothing_and_a_changed_photo_again(raw, tmp_path, encode, draw_garment):
    out = tmp_path / "clean"
    first = ingest_photos(raw, out, tmp_path / "train.json", OPTIONS)
    again = ingest_photos(raw, out, tmp_path / "train.json", OPTIONS)
    assert (again.n_decoded, again.counts) == (0, first.counts)
    (raw / "cut.jpg").write_bytes(encode(draw_garment(9)))  # a download mended it
    (raw / "1.jpg").write_bytes(encode(draw_garment(77)))  # so the copy is one no more
    (raw / "2.png").write_bytes(b"broken since")
    lost = next((out / "photos").rglob("7.jpg"))
    lost.unlink()
    mended = ingest_photos(raw, out, tmp_path / "train.json", OPTIONS)
    assert mended.n_decoded == 4
    assert mended.counts == {"kept": 9, "duplicate": 1, "blank": 1, "failed": 7, "missing": 1}
    assert {path.stem for path in (out / "photos").rglob("*.jpg")} == (GOOD - {"2"}) | {"cut", "copy"}


def test_another_photo_of_the_same_size_and_time_is_seen(raw, tmp_path, encode, draw_garment):
    """The hash decides: a clock may jump, and a copy may keep its time."""
    out, path = tmp_path / "clean", raw / "8.png"
    ingest_photos(raw, out, tmp_path / "train.json", OPTIONS)
    before, stamp = ledger_of(out)["8"]["sha256"], path.stat()
    other = encode(draw_garment(88), "BMP")
    path.write_bytes(other)
    ingest_photos(raw, out, tmp_path / "train.json", OPTIONS)
    then = ledger_of(out)["8"]["sha256"]
    path.write_bytes(encode(draw_garment(89), "BMP"))  # as many bytes
    assert path.stat().st_size == len(other)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    report = ingest_photos(raw, out, tmp_path / "train.json", OPTIONS)
    assert report.n_decoded == 1
    assert len({before, then, ledger_of(out)["8"]["sha256"]}) == 3


def test_the_number_of_workers_changes_nothing(raw, tmp_path):
    for workers in (1, 3):
        ingest_photos(raw, tmp_path / f"w{workers}", tmp_path / "train.json", IngestOptions(size=64, workers=workers))
    assert (tmp_path / "w1" / "ledger.csv").read_bytes() == (tmp_path / "w3" / "ledger.csv").read_bytes()


def test_tables_keep_their_columns(raw, tmp_path):
    table = tmp_path / "table.csv"
    table.write_text('file,tags,seller\n006.jpg,a b,s1\nhtml.jpg,a,s2\nsub/5.webp,c,"s,3"\n')
    options = IngestOptions(size=64, id_column="file", labels_column="tags")
    report = ingest_photos(raw, tmp_path / "clean", table, options)
    assert report.annotations is not None
    assert report.annotations.read_text() == 'file,tags,seller\n006.jpg,a b,s1\nsub/5.webp,c,"s,3"\n'
    config = DataConfig(
        format="csv",
        root="photos",
        annotations="annotations.csv",
        id_column="file",
        labels_column="tags",
        group_column="seller",
    )
    assert load_manifest(config, tmp_path / "clean").ids.tolist() == ["006", "5"]


def test_without_annotations_every_photo_is_taken(raw, tmp_path):
    report = ingest_photos(raw, tmp_path / "clean", options=OPTIONS)
    assert report.counts["kept"] == 8
    assert report.annotations is None


def test_near_duplicates_can_be_kept(raw, tmp_path):
    options = IngestOptions(size=64, workers=2, drop_near_duplicates=False)
    assert ingest_photos(raw, tmp_path / "clean", tmp_path / "train.json", options).counts["duplicate"] == 1


def test_other_options_need_another_folder(raw, tmp_path):
    ingest_photos(raw, tmp_path / "clean", tmp_path / "train.json", OPTIONS)
    with pytest.raises(ValueError, match="was made with size=64, now it is 96"):
        ingest_photos(raw, tmp_path / "clean", tmp_path / "train.json", IngestOptions(size=96))


def test_places_that_cannot_work(raw, tmp_path):
    with pytest.raises(ValueError, match="out must be outside the folder of photos"):
        ingest_photos(raw, raw / "clean", options=OPTIONS)
    with run_lock(tmp_path / "clean"), pytest.raises(FolderInUseError, match="another run"):
        ingest_photos(raw, tmp_path / "clean", options=OPTIONS)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "1.jpg").write_bytes(b"no photo")
    with pytest.raises(ValueError, match="at least one photo that can be kept"):
        ingest_photos(tmp_path / "bad", tmp_path / "none", options=OPTIONS)


def requests_for(folder, names):
    return [{"id": name, "source": str(folder / f"{name}.png")} for name in names]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is limited through /proc and RLIMIT_AS")
def test_a_photo_that_needs_too_much_memory_fails_alone(tmp_path, encode, draw_garment):
    (tmp_path / "big.png").write_bytes(encode(Image.new("RGB", (6000, 6000), "red"), "PNG"))
    (tmp_path / "good.png").write_bytes(encode(draw_garment(1), "PNG"))
    with DecoderPool(IngestOptions(size=64, memory_bytes=2**26)) as pool:
        answers = {request["id"]: answer for request, answer in pool.run(requests_for(tmp_path, ["big", "good"]))}
    assert answers["big"]["status"] == "failed"
    assert "emory" in answers["big"]["reason"]
    assert answers["good"]["status"] == "clean"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_decoders_that_hang_or_die_cost_one_photo_each(tmp_path, encode, draw_garment):
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.png").write_bytes(encode(draw_garment(1), "PNG"))
    for name in ("dies", "hangs"):
        os.mkfifo(tmp_path / f"{name}.png")  # who opens it waits for ever
    answers = {}
    with DecoderPool(IngestOptions(size=64, seconds=1.0)) as pool:
        for request, answer in pool.run(requests_for(tmp_path, ["a", "dies", "b", "hangs", "c"])):
            answers[request["id"]] = answer
            if request["id"] == "a":  # the child is at the next photo already
                os.kill(pool._children[0].process.pid, signal.SIGKILL)
    assert [answers[name]["status"] for name in ("a", "b", "c")] == ["clean"] * 3
    assert answers["dies"]["reason"] == "the decoder died (signal 9)"
    assert answers["hangs"]["reason"] == "decoding took more than 1 s"


def test_a_decoder_that_cannot_start_is_no_photos_fault(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with DecoderPool(OPTIONS) as pool, pytest.raises(RuntimeError, match="could not run: exit 1"):
        list(pool.run(requests_for(tmp_path, ["a"])))


def test_a_decoder_loads_little(tmp_path):
    code = "import base_models.ingest.decoder, sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"torch", "sklearn", "pandas", "scipy", "stacking"} & set(done.stdout.split()) == set()


@pytest.mark.parametrize("separator", [",", ";"])
def test_equal_file_names_in_folders_and_long_tables(tmp_path, separator):
    rng = np.random.default_rng(0)
    for name in ("p1/view1.png", "p2/view1.png", "p2/view2.png"):
        (tmp_path / "raw" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(tmp_path / "raw" / name)
    rows = [("path", "label"), ("p2/view1.png", "red"), ("p2/view1.png", "blue"), ("p1/view1.png", "red")]
    (tmp_path / "t.csv").write_text("".join(separator.join(row) + "\n" for row in rows))
    report = ingest_photos(tmp_path / "raw", tmp_path / "clean", tmp_path / "t.csv", IngestOptions(size=32))
    assert report.annotations is not None and report.annotations.read_text() == (tmp_path / "t.csv").read_text()
    assert {name for name in ledger_of(tmp_path / "clean")} == {"p1/view1", "p2/view1"}
    manifest = load_manifest(DataConfig("csv", "clean/photos", "clean/annotations.csv"), tmp_path)
    assert manifest.ids.tolist() == ["p2/view1", "p1/view1"] and manifest.y_true.tolist() == [[1, 1], [0, 1]]
    with pytest.raises(ValueError, match="must have the column 'tags': got columns path, label"):
        ingest_photos(
            tmp_path / "raw", tmp_path / "c2", tmp_path / "t.csv", IngestOptions(size=32, labels_column="tags")
        )
