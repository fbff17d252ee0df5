"""Photos in, labels out, as `labelstack predict --run --images` gives them; hostile photos are refused."""

import csv
import io
import json
import secrets
import struct
import zlib

import numpy as np
import pytest

pytest.importorskip("torch")

from PIL import Image

from base_models.testing import write_tiny_photos
from stacking.predictions import load_predictions

pytestmark = pytest.mark.network
RECIPE = (
    'name = "t"\nn_threads = 1\n[data]\nformat = "folder"\nroot = "photos"\nsplit_column = "split"\n'
    "[folds]\nn_folds = 2\n[training]\nepochs = 1\nbatch_size = 6\n"
    '[[members]]\nname = "m"\nnetwork = "test_resnet"\nsize = 32\n'
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run, an ensemble of its members, and new photos."""
    from typer.testing import CliRunner

    from experiments.cli import app

    place = tmp_path_factory.mktemp("photos")
    write_tiny_photos(place / "photos", 16, 6)
    (place / "recipe.toml").write_text(RECIPE)
    for line in (
        f"train {place}/recipe.toml --device cpu --out {place}/run",
        f"fit {place}/run/oof --method mean --out {place}/ensemble",
    ):
        done = CliRunner().invoke(app, line.split())
        assert done.exit_code == 0, done.output
    (place / "new").mkdir()
    rng = np.random.default_rng(1)
    for number in range(5):
        pixels = rng.integers(0, 256, (30 + 9 * number, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / "new" / f"new {number}.{('jpg', 'png')[number % 2]}")
    line = ["predict", "ensemble", "--run", "run", "--images", "new", "--out", "labels.csv", "--scores-out", "s.npz"]
    done = CliRunner().invoke(
        app, [f"{place}/{word}" if word[0] != "-" and word != "predict" else word for word in line]
    )
    assert done.exit_code == 0, done.output
    return place


@pytest.fixture(scope="module")
def server(client, made):
    with client.started(made / "ensemble", "--run", made / "run", "--device", "cpu", "--max-photos", 6) as running:
        yield running


def form(files, field="photo"):
    """Encode files as a browser does."""
    boundary = secrets.token_hex(8)
    parts = [
        f'--{boundary}\r\nContent-Disposition: form-data; name="{field}"; filename="{name}"\r\n\r\n'.encode()
        + content
        + b"\r\n"
        for name, content in files
    ]
    return b"".join([*parts, f"--{boundary}--\r\n".encode()]), f"multipart/form-data; boundary={boundary}"


def test_photos_in_labels_out(server, client, made):
    files = [(path.name, path.read_bytes()) for path in sorted((made / "new").iterdir())]
    body, kind = form(files)
    for _ in range(2):  # the networks stay
        status, answer, _ = client.ask(server.port, "/predict?scores=true", body, kind)
        assert status == 200, answer
        with (made / "labels.csv").open() as file:
            expected = {row["id"]: row["labels"].split("|") if row["labels"] else [] for row in csv.DictReader(file)}
        assert {one["id"]: one["labels"] for one in answer["predictions"]} == expected and len(expected) == 5
        scores = load_predictions(made / "s.npz")
        got = [[one["scores"][label] for label in scores.labels] for one in answer["predictions"]]
        np.testing.assert_array_equal(np.array(got, np.float32), scores.to_array()[0])


def jpeg(size=(40, 30)):
    file = io.BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def png_bomb(side):
    """Announce side × side pixels in a kilobyte."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )


GOOD = ("good.jpg", jpeg())
SENT = {
    "cut": (lambda: form([("a.jpg", jpeg()[:-300])]), 400, "cannot be decoded"),
    "cut beside a good one": (lambda: form([GOOD, ("a.jpg", jpeg()[:-300])]), 400, "'a.jpg'"),
    "bomb": (lambda: form([("a.png", png_bomb(9000))]), 400, "9000 × 9000 pixels are more than the limit"),
    "huge bomb": (lambda: form([("a.png", png_bomb(40_000))]), 400, "exceeds limit"),
    "zip for a photo": (lambda: form([("a.jpg", b"PK\x03\x04" + bytes(99))]), 400, "neither JPEG"),
    "svg": (lambda: form([("a.svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>")]), 400, "neither JPEG"),
    "empty": (lambda: form([("a.jpg", b"")]), 400, "empty"),
    "no file": (lambda: form([]), 400, "1 to 6 photos"),
    "too many": (lambda: form([(f"{number}.jpg", jpeg()) for number in range(7)]), 400, "at most 6 files"),
    "path": (lambda: form([("../../etc/passwd.jpg", jpeg())]), 400, "plain file name"),
    "path of Windows": (lambda: form([("folder\\\\boot.jpg", jpeg())]), 400, "plain file name"),
    "control characters": (lambda: form([("a\x1b[2Jb.jpg", jpeg())]), 400, "plain file name"),
    "no name": (lambda: form([("", jpeg())]), 400, "file"),
    "long name": (lambda: form([("a" * 300 + ".jpg", jpeg())]), 400, "plain file name"),
    "name twice": (lambda: form([("a.jpg", jpeg()), ("a.png", jpeg())]), 400, "'a' is there twice"),
    "no boundary": (lambda: (form([GOOD])[0], "multipart/form-data"), 400, "whole form"),
    "another boundary": (lambda: (form([GOOD])[0], "multipart/form-data; boundary=zzz"), 400, "form"),
    "cut form": (lambda: (form([GOOD])[0][:200], form([GOOD])[1]), 400, "form"),
    "no form": (lambda: (b"\x00" * 1000, "multipart/form-data; boundary=x"), 400, "form"),
    "field": (lambda: (form([GOOD])[0].replace(b'; filename="good.jpg"', b""), "multipart/form-data; boundary=x"), 400,
              "form"),
}  # fmt: skip


@pytest.mark.parametrize("name", SENT)
def test_photos_that_are_wrong_are_refused_in_one_sentence(server, client, name):
    make, expected, said = SENT[name]
    body, kind = make()
    status, answer, _ = client.ask(server.port, body=body, kind=kind)
    assert (status, set(answer)) == (expected, {"error"}) and said in answer["error"], answer
    assert answer["error"].endswith((".", "?")) and "\n" not in answer["error"] and "Traceback" not in answer["error"]
    assert client.ask(server.port, "/health")[0] == 200


def test_a_field_that_is_no_file_is_refused(server, client):
    body, kind = form([GOOD])
    status, answer, _ = client.ask(server.port, body=body.replace(b'; filename="good.jpg"', b""), kind=kind)
    assert status == 400 and "nothing else" in answer["error"]


def test_scores_are_taken_beside_photos(server, client):
    assert "multipart/form-data" in json.dumps(client.ask(server.port, "/")[1])
    _, described, _ = client.ask(server.port, "/")
    sent = {"scores": {name: [[0.5] * len(described["labels"])] for name in described["members"]}}
    assert client.ask(server.port, body=sent)[0] == 200
    body, kind = form([GOOD])
    assert client.ask(server.port, "/predict?without=m", body, kind)[0] == 400
