"""Whatever is sent, the answer is one sentence in JSON and a status of the client's fault; the server stays."""

import io
import json
import os
import random
import socket
import time
import zipfile

import numpy as np
import pytest

pytestmark = pytest.mark.network
NPZ = "application/x-npz"


def changed(as_json, **changes):
    return as_json(slice(0, 3), **changes)


def with_cell(as_json, value):
    sent = as_json(slice(0, 3))
    sent["scores"]["cnn/a"][1][2] = "VALUE"
    return json.dumps(sent).replace('"VALUE"', value).encode()


def archive(**arrays):
    file = io.BytesIO()
    np.savez_compressed(file, **arrays)
    return file.getvalue()


def bomb(as_json):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("y_scores.npy", bytes(2**26))
    return file.getvalue()


def without_member(as_json):
    sent = as_json(slice(0, 3))
    del sent["scores"]["cnn/b"]
    return sent


def renamed(as_json, old, new):
    sent = as_json(slice(0, 3))
    sent["scores"] = {new if name == old else name: rows for name, rows in sent["scores"].items()}
    return sent


def ragged(as_json):
    sent = as_json(slice(0, 3))
    sent["scores"]["cnn/a"][1].append(0.5)
    return sent


def one_row_less(as_json):
    sent = as_json(slice(0, 3))
    sent["scores"]["cnn/a"].pop()
    return sent


FULL = {"models": ["cnn/a", "cnn/b", "specialist"], "labels": ["color:red", "color:blue", "sleeve:long", "neck:v"]}
SENT = {
    "no JSON": (lambda made: b"{", 400, "valid JSON"),
    "no object": (lambda made: b"[1]", 400, "must be a JSON object"),
    "no text": (lambda made: b"\xff\xfe{}", 400, "UTF-8"),
    "nothing": (lambda made: b"", 400, "valid JSON"),
    "nested": (lambda made: b'{"scores":' + b"[" * 200_000 + b"]" * 200_000 + b"}", 400, "nested deeper"),
    "nested objects": (lambda made: b'{"a":' * 50_000 + b"1" + b"}" * 50_000, 400, "nested deeper"),
    "a key twice": (lambda made: b'{"ids": [], "ids": []}', 400, "twice"),
    "unknown key": (lambda made: changed(made, label=["a"]), 400, "Did you mean 'labels'"),
    "no scores": (lambda made: {"ids": ["a"]}, 400, "one list of rows by member"),
    "scores of no member": (lambda made: {"scores": {}}, 400, "not empty"),
    "scores in a list": (lambda made: {"scores": [[0.5]]}, 400, "one list of rows by member"),
    "rows in an object": (lambda made: {"scores": {name: {"a": 1} for name in FULL["models"]}}, 400, "list of rows"),
    "numbers for rows": (lambda made: {"scores": {name: [1, 2] for name in FULL["models"]}}, 400, "list of rows"),
    "no rows": (lambda made: {"scores": {name: [] for name in FULL["models"]}}, 400, "at least one row"),
    "many rows": (lambda made: made(slice(0, 51)), 413, "at most 50 rows"),
    "ragged": (ragged, 400, "one number per label, 4: row 1 has 5"),
    "rows differ": (one_row_less, 400, "the same rows: 'cnn/a' has 2, 'cnn/b' has 3"),
    "unknown member": (lambda made: renamed(made, "cnn/a", "cnn/c"), 400, "members must be those of the ensemble"),
    "path for a member": (lambda made: renamed(made, "cnn/a", "../../etc/passwd"), 400, "members must be those"),
    "huge member": (lambda made: renamed(made, "cnn/a", "a" * 500_000), 400, "members must be those"),
    "missing member": (without_member, 400, "'cnn/b' missing"),
    "unknown label": (lambda made: changed(made, labels=["color:red", "color:blue", "sleeve:long", "nek:v"]), 400,
                      "Did you mean 'neck:v'"),
    "missing label": (lambda made: changed(made, labels=["color:red", "color:blue", "sleeve:long"]), 400,
                      "'neck:v' missing"),
    "label twice": (lambda made: changed(made, labels=["color:red"] * 4), 400, "'color:red' is there twice"),
    "labels no names": (lambda made: changed(made, labels=[1, 2, 3, 4]), 400, "labels must be a list of names"),
    "ids too few": (lambda made: changed(made, ids=["a"]), 400, "got 1 ids for 3 rows"),
    "ids twice": (lambda made: changed(made, ids=["a", "b", "a"]), 400, "'a' is there twice"),
    "ids no names": (lambda made: changed(made, ids=[1.5, {}, None]), 400, "texts or whole numbers"),
    "huge id": (lambda made: changed(made, ids=["a" * 300_000, "b", "c"]), 400, "at most 255 characters"),
    "NaN": (lambda made: with_cell(made, "NaN"), 400, "NaN is no JSON value"),
    "Infinity": (lambda made: with_cell(made, "-Infinity"), 400, "no JSON value"),
    "1e999": (lambda made: with_cell(made, "1e999"), 400, "row 'photo 1', label 'sleeve:long'"),
    "two": (lambda made: with_cell(made, "2"), 400, "[0, 1]"),
    "negative": (lambda made: with_cell(made, "-0.25"), 400, "[0, 1]"),
    "hundreds of digits": (lambda made: with_cell(made, "9" * 4000), 400, "hundreds of digits"),
    "thousands of digits": (lambda made: with_cell(made, "9" * 9000), 400, "valid JSON"),
    "text for a number": (lambda made: with_cell(made, '"0.5"'), 400, "row 1, 'sleeve:long' must be a number"),
    "true for a number": (lambda made: with_cell(made, "true"), 400, "got true or false"),
    "null for one cell": (lambda made: with_cell(made, "null"), 400, "sleeve:long"),
    "lone surrogate": (lambda made: b'{"ids": ["\\ud800"], "scores": {}}', 400, "UTF-8"),
    "huge": (lambda made: b" " * (2**20 + 1), 413, "at most 1,048,576 bytes"),
}  # fmt: skip
BUNDLES = {
    "no archive": (lambda made: b"PK\x03\x04" + bytes(100), 400, "undamaged .npz"),
    "empty archive": (lambda made: archive(), 400, "must hold y_scores"),
    "bomb": (bomb, 413, "announces 67,108,864"),
    "objects": (lambda made: archive(y_scores=np.array([{}], object), ids=["a"], **FULL), 400, "Python objects"),
    "text": (lambda made: archive(y_scores=np.full((3, 1, 4), "x"), ids=["a"], **FULL), 400, "y_scores"),
    "shape": (lambda made: archive(y_scores=np.full((3, 4), 0.5), ids=["a"], **FULL), 400, "y_scores"),
    "rows": (lambda made: archive(y_scores=np.full((3, 60, 4), 0.5), ids=[str(i) for i in range(60)], **FULL), 413,
             "at most 50 rows"),
    "wide ids": (lambda made: archive(y_scores=np.full((3, 1, 4), 0.5), ids=["a" * 9000], **FULL), 400, "at most 255"),
    "infinite": (lambda made: archive(y_scores=np.full((3, 1, 4), np.inf), ids=["a"], **FULL), 400, "[0, 1]"),
    "other members": (lambda made: archive(y_scores=np.full((1, 1, 4), 0.5), ids=["a"], models=["x"],
                                           labels=FULL["labels"]), 400, "members must be those"),
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "name"), [("application/json", name) for name in SENT] + [(NPZ, name) for name in BUNDLES]
)
def test_a_body_that_is_wrong_is_refused_in_one_sentence(small_server, client, as_json, kind, name):
    make, expected, said = (SENT if kind != NPZ else BUNDLES)[name]
    status, answer, _ = client.ask(small_server.port, body=make(as_json), kind=kind)
    assert (status, set(answer)) == (expected, {"error"}), answer
    sentence = answer["error"]
    assert said in sentence and sentence.endswith((".", "?", "…")) and "\n" not in sentence and len(sentence) < 600
    assert "Traceback" not in sentence and "/tmp" not in sentence
    assert client.ask(small_server.port, "/health")[0] == 200


@pytest.mark.parametrize(
    ("path", "options", "expected", "said"),
    [
        ("/predict", {"kind": "text/plain"}, 415, "application/json"),
        ("/predict", {"kind": "multipart/form-data; boundary=x"}, 415, "--run"),
        ("/predict", {"headers": {"Content-Encoding": "gzip"}}, 415, "Content-Encoding"),
        ("/predict", {"method": "PUT"}, 405, "method"),
        ("/predict", {"method": "DELETE"}, 405, "method"),
        ("/card", {"method": "POST"}, 405, "method"),
        ("/../../etc/passwd", {}, 404, "no such page"),
        ("/predict/../card", {}, 404, "no such page"),
        ("/predict/", {}, 404, "no such page"),
        ("/%2e%2e/manifest.json", {}, 404, "no such page"),
        ("/predict?scores=perhaps", {}, 400, "true or false"),
        ("/predict?without=cnn/x", {}, 400, "Did you mean"),
        ("/predict?without=cnn/a&without=cnn/b&without=specialist", {}, 400, "without"),
    ],
)
def test_a_request_that_is_wrong_is_refused_in_one_sentence(
    small_server, client, as_json, path, options, expected, said
):
    status, answer, headers = client.ask(small_server.port, path, as_json(slice(0, 2)), **options)
    assert status == expected and said in answer["error"], answer
    assert expected != 405 or headers["Allow"]


def raw(port, *pieces, seconds=0.0, wait=30.0):
    """Send bytes as they are; return all that comes back, and how long that took."""
    began = time.monotonic()
    with socket.create_connection(("127.0.0.1", port), timeout=wait) as connection:
        for piece in pieces:
            connection.sendall(piece)
            time.sleep(seconds)
        connection.settimeout(wait)
        came = b""
        while piece := connection.recv(65536):
            came += piece
    return came, time.monotonic() - began


HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


def test_a_slow_body_is_cut_off(small_server):
    came, took = raw(small_server.port, HEAD + b"Content-Length: 1000\r\n\r\n{", wait=10)
    assert came.startswith(b"HTTP/1.1 408") and b"must arrive within 1 s" in came and 0.9 < took < 8


def test_a_body_without_a_length_is_counted(small_server):
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    came, _ = raw(
        small_server.port, HEAD + b"Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n", piece * 17, b"0\r\n\r\n"
    )
    assert came.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize("head", [b"Content-Length: 8000000", b"Transfer-Encoding: chunked"])
def test_an_answer_reaches_a_client_that_is_still_sending(small_server, head):
    piece = b"10000\r\n" + b" " * 65536 + b"\r\n"
    came, _ = raw(small_server.port, HEAD + head + b"\r\n\r\n", *[piece] * 60, seconds=0.005)
    assert came.startswith(b"HTTP/1.1 413") and b"connection: close" in came.lower()


def test_a_body_that_is_announced_too_large_is_not_waited_for(small_server):
    with socket.create_connection(("127.0.0.1", small_server.port), timeout=10) as connection:
        connection.sendall(HEAD + b"Content-Length: 99999999999999\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(40),
        b"GET\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nZZ\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(small_server, client, sent):
    came, _ = raw(small_server.port, sent, wait=10)
    assert came.startswith((b"HTTP/1.1 400", b"HTTP/1.1 431")) and b'{"error": "' in came
    assert client.ask(small_server.port, "/health")[0] == 200


def test_a_client_that_goes_away_in_the_middle_leaves_nothing(small_server, client):
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", small_server.port), timeout=10) as connection:
            connection.sendall(HEAD + b"Content-Length: 1000\r\n\r\n{")
    time.sleep(0.2)
    metrics = client.ask(small_server.port, "/metrics")[1]
    assert "labelstack_requests_inside 0.0" in metrics


@pytest.mark.fuzz
def test_bytes_changed_at_random_are_no_failure_of_the_server(small_server, client, as_json):
    rng = random.Random(0)
    good = {
        "application/json": json.dumps(as_json(slice(0, 2))).encode(),
        NPZ: archive(y_scores=np.full((3, 2, 4), 0.5), ids=["a", "b"], **FULL),
    }
    for number in range(3000 if os.environ.get("LABELSTACK_FUZZ") == "long" else 100):
        kind = list(good)[number % 2]
        body = bytearray(good[kind])
        for _ in range(rng.randint(1, 6)):
            body[rng.randrange(len(body))] = rng.randrange(256)
        if rng.random() < 0.2:
            del body[rng.randrange(len(body)) :]
        status, answer, _ = client.ask(small_server.port, body=bytes(body), kind=kind)
        assert status in (200, 400, 413), (bytes(body), answer)
