"""Folders and tar shards of strangers: loops, pipes, giants, sparse members and broken headers."""

import io
import logging
import os
import tarfile

import pytest
from PIL import Image

from base_models.manifest import folder as folder_module
from base_models.manifest.folder import scan_folder
from base_models.manifest.tar_shards import scan_tar_shards
from base_models.photos.decoding import MAX_BYTES, UnreadablePhotoError


@pytest.fixture
def photo():
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    return file.getvalue()


def test_loops_and_dead_links_are_left_out(tmp_path, photo, caplog):
    (tmp_path / "a.jpg").write_bytes(photo)
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    (tmp_path / "dead.jpg").symlink_to(tmp_path / "nowhere.jpg")
    (tmp_path / "up").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe.jpg")
    with caplog.at_level(logging.WARNING):
        ids, photos = scan_folder(tmp_path)
    assert ids == ["a"]
    assert photos.read_bytes(0) == photo
    assert "1 files below" in caplog.text


def test_a_folder_that_cannot_be_listed_is_left_out(tmp_path, photo, caplog, monkeypatch):
    (tmp_path / "a.jpg").write_bytes(photo)
    (tmp_path / "closed").mkdir()
    scandir = os.scandir

    def refuse(path):
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(folder_module.os, "scandir", refuse)
    with caplog.at_level(logging.WARNING):
        assert scan_folder(tmp_path)[0] == ["a"]
    assert "Permission denied" in caplog.text


def test_deep_folders_are_walked(tmp_path, photo):
    deep = tmp_path.joinpath(*["d"] * 900)
    deep.mkdir(parents=True)
    (deep / "a.jpg").write_bytes(photo)
    assert scan_folder(tmp_path)[0] == ["a"]


def test_a_giant_file_is_not_read_whole(tmp_path):
    with (tmp_path / "a.jpg").open("wb") as file:
        file.truncate(2**40)
    photos = scan_folder(tmp_path)[1]
    with pytest.raises(UnreadablePhotoError, match="more than the limit"):
        photos.read_bytes(0)


def test_a_file_that_became_a_pipe_is_refused(tmp_path, photo):
    (tmp_path / "a.jpg").write_bytes(photo)
    photos = scan_folder(tmp_path)[1]
    (tmp_path / "a.jpg").unlink()
    os.mkfifo(tmp_path / "a.jpg")
    with pytest.raises(UnreadablePhotoError, match="no file any more"):
        photos.read_bytes(0)


def header(name, size, kind=tarfile.REGTYPE, **changes):
    member = tarfile.TarInfo(name)
    member.type = kind
    for key, value in changes.items():
        setattr(member, key, value)
    data = bytearray(member.tobuf(tarfile.GNU_FORMAT))
    data[124:136] = size
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data)
    return bytes(data)


OCTAL = staticmethod(lambda size: b"%011o\0" % size).__func__


def shard(tmp_path, *parts):
    (tmp_path / "s.tar").write_bytes(b"".join(parts) + bytes(1024))
    return tmp_path


def padded(data):
    return data + bytes(-len(data) % 512)


def test_links_and_paths_outside_are_no_danger(tmp_path, photo):
    parts = [header("../../a.jpg", OCTAL(len(photo))), padded(photo)]
    parts += [header("b.jpg", OCTAL(0), tarfile.SYMTYPE, linkname="/etc/passwd")]
    parts += [
        header("c.jpg", OCTAL(0), tarfile.LNKTYPE, linkname="../../a.jpg"),
        header("d.jpg", OCTAL(0), tarfile.CHRTYPE),
    ]
    ids, photos = scan_tar_shards(shard(tmp_path, *parts))
    assert [i.rsplit("/", 1)[-1] for i in ids] == ["a"]
    assert photos.read_bytes(0) == photo


def test_sparse_members_are_left_out(tmp_path, photo, caplog):
    sparse = bytearray(header("s.jpg", OCTAL(0), tarfile.GNUTYPE_SPARSE))
    sparse[483:495] = b"%011o\0" % (2**33 - 1)
    sparse[148:156] = b" " * 8
    sparse[148:156] = b"%06o\0 " % sum(sparse)
    with caplog.at_level(logging.WARNING):
        ids, _ = scan_tar_shards(shard(tmp_path, bytes(sparse), header("a.jpg", OCTAL(len(photo))), padded(photo)))
    assert ids == ["a"]
    assert "sparse" in caplog.text


@pytest.mark.parametrize("size", [MAX_BYTES + 1, 2**33 - 1])
def test_members_that_claim_too_much_are_refused_when_read(tmp_path, size):
    with (shard(tmp_path, header("a.jpg", OCTAL(size))) / "s.tar").open("r+b") as file:
        file.truncate(512 + size + 512 + 1024)
    photos = scan_tar_shards(tmp_path)[1]
    with pytest.raises(UnreadablePhotoError, match="more than the limit"):
        photos.read_bytes(0)


@pytest.mark.parametrize(
    "parts",
    [
        [header("a.jpg", b"\xff" * 12)],
        [header("a.jpg", b"\xff" * 11 + b"\x00"), header("b.jpg", OCTAL(0))],
        [header("x", OCTAL(2**30), tarfile.GNUTYPE_LONGNAME)],
        [header("x", OCTAL(12), tarfile.XHDTYPE), padded(b"12 size=-99\n"), header("a.jpg", OCTAL(0))],
        [header("x", OCTAL(512), tarfile.GNUTYPE_LONGNAME), b"n" * 512] * 3000,
        [b"\x1f\x8b" + bytes(600)],
        [b"garbage" * 100],
    ],
    ids=["negative", "back", "long-name", "pax-size", "names-of-names", "gzip", "garbage"],
)
@pytest.mark.timeout(20)
def test_broken_headers_end_in_one_sentence_and_never_in_a_loop(tmp_path, parts):
    with pytest.raises(ValueError, match=r"must be a plain, whole tar file|hold"):
        ids, photos = scan_tar_shards(shard(tmp_path, *parts))
        assert ids, "hold"
        photos.read_bytes(0)
        raise ValueError("it holds a photo of no danger")
