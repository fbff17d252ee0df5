"""From urls to a trained network, with a fifth of the photos faulty and two kills on the way.

In small as a test; in full: ``LABELSTACK_CHAIN_PHOTOS=2000 python -m pytest -s -m slow THIS_FILE``.
"""

import csv
import io
import json
import os
import signal
import sqlite3
import struct
import subprocess
import sys
import time
import zlib
from collections import Counter

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("torch")

from stacking import load_predictions

pytestmark = [pytest.mark.network, pytest.mark.slow, pytest.mark.timeout(1800)]

N_PHOTOS = int(os.environ.get("LABELSTACK_CHAIN_PHOTOS", "200"))
NETWORK_FAULTS = {  # path of the n-th such photo → status and how the reason begins
    "status/404": ("refused", "HTTP 404"),
    "status/410": ("refused", "HTTP 410"),
    "status/403": ("refused", "HTTP 403"),
    "html/{n}": ("refused", "not a photo"),
    "empty/{n}": ("refused", "empty answer"),
    "endless/{n}": ("refused", "more bytes than the limit"),
    "cut-at-source/{n}": ("refused", "the photo is cut before its end"),
    "encoded/gzip": ("refused", "compressed as 'gzip' unasked"),
    "raw/ssh": ("refused", "no valid HTTP"),
    "loop/": ("refused", "more than 4 redirects"),
    "to/?url=file:///etc/passwd": ("refused", "only http and https"),
    "robots/?tag=noai": ("refused", "the host forbids its use for AI"),
    "status/500": ("unreachable", "HTTP 500"),
    "cut-in-transit/{n}": ("unreachable", "the answer ended early"),
    "slow/{n}": ("unreachable", "no whole answer within"),
    "drip/{n}": ("unreachable", "no whole answer within"),
    "raw/headers": ("unreachable", "no whole answer within"),
    "down/{n}": ("unreachable", "HTTP 503"),
    "later/3600@localhost": ("unreachable", "HTTP 429 (asks to wait 3600 s)|the host asks to wait longer"),
    "x@nowhere.invalid": ("unreachable", "the host's name does not resolve|the host has not answered|no whole answer"),
    "once/500/{n}": ("fetched", ""),
    "once/429/{n}": ("fetched", ""),
    "moved/{n}": ("fetched", ""),
}
PHOTO_FAULTS = {  # file → status and how the reason begins
    "short": ("failed", "PNG cannot be decoded"),
    "bomb": ("failed", "20000 × 20000 pixels|PNG cannot be decoded"),
    "thin": ("failed", "1 × 600 pixels"),
    "white": ("blank", "one color all over"),
}


def png(width, height, body):
    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    parts = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + parts


def encoded(image):
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.fixture
def contest(server, tmp_path):
    """Write the annotation file; return it and what must become of each photo."""
    server.files = {
        "short": png(200, 200, b"\0" * 99),
        "bomb": png(20_000, 20_000, b"\0" * 99),
        "thin": encoded(Image.linear_gradient("L").resize((1, 600))),
        "white": encoded(Image.new("RGB", (90, 90), "white")),
    }
    rng = np.random.default_rng(0)
    faulty = set(rng.permutation(N_PHOTOS)[: N_PHOTOS // 5].tolist())
    kinds = [*NETWORK_FAULTS, *PHOTO_FAULTS, "copy"]
    images, expected, n_faulty = [], {}, 0
    for number in range(N_PHOTOS):
        path, photo_id, fate = f"photo/{number + 20_000}", str(number + 1), ("kept", "")
        if number in faulty:
            path = kinds[n_faulty % len(kinds)]
            fate = NETWORK_FAULTS.get(path) or PHOTO_FAULTS.get(path) or ("duplicate", "the same as")
            n_faulty += 1
            if path in PHOTO_FAULTS:
                path = f"file/{path}"
            elif path == "copy":
                path = f"photo/{min(set(range(N_PHOTOS)) - faulty) + 20_000}"
        path, _, host = path.format(n=number + 20_000).partition("@")
        images.append({"imageId": photo_id, "url": server.url(path, host or "127.0.0.1")})
        expected[photo_id] = fate
    annotations = [
        {"imageId": image["imageId"], "labelId": [str(x) for x in np.flatnonzero(rng.random(5) < 0.5)]}
        for image in images
    ]
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return path, expected


def command(*arguments):
    return [sys.executable, "-m", "experiments", *map(str, arguments)]


def run(*arguments):
    done = subprocess.run(command(*arguments), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def count(ledger, query):
    if not ledger.is_file():
        return 0
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)
    try:
        return connection.execute(query).fetchone()[0]
    except sqlite3.OperationalError:  # not made yet
        return 0
    finally:
        connection.close()


def kill_when(reached, *arguments):
    """Start a command and kill it, without warning, as soon as it has come so far."""
    with subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while not reached():
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL


def statuses(path):
    with path.open(newline="", encoding="utf-8") as file:
        return {row["id"]: (row["status"], row["reason"]) for row in csv.DictReader(file)}


def agrees(found, expected):
    status, reasons = expected
    return found[0] == status and any(found[1].startswith(reason) for reason in reasons.split("|"))


def test_from_hostile_urls_to_a_trained_network(server, contest, tmp_path):
    annotations, expected = contest
    raw, clean = tmp_path / "raw", tmp_path / "clean"
    download = ["data", "download", annotations, "--out", raw, "--allow-private", "--first-wait", 0.05, "--timeout", 8]
    download += ["--attempts", 2, "--per-host", 32, "--max-photo-mb", 0.05, "--quiet"]
    fetched = "SELECT COUNT(*) FROM photos WHERE status = 'fetched'"
    kill_when(lambda: count(raw / "ledger.sqlite", fetched) >= N_PHOTOS // 4, *download)
    there = count(raw / "ledger.sqlite", fetched)
    asked_before = sum(server.asked.values())
    first = run(*download)
    at_network = {name: fate for name, fate in expected.items() if fate[0] in ("refused", "unreachable")}
    failures = statuses(raw / "failures.csv")
    assert failures.keys() == at_network.keys()
    assert [name for name, fate in at_network.items() if not agrees(failures[name], fate)] == []
    asked_twice = [path for path, times in server.asked.items() if path.startswith("photo/") and times > 1]
    assert len(asked_twice) <= 100 + 32 + N_PHOTOS // 100  # what was under way, a batch of the ledger, and the copies

    server.asked.clear()
    run(*download)
    assert sum(server.asked.values()) == 0, "a rerun asks for nothing that has failed for good"
    server.broken = False
    mended = {name for name, (_, reason) in at_network.items() if reason == "HTTP 503"}
    run(*download, "--retry-failed")
    may_pass = {path.partition("/")[0] for path, fate in NETWORK_FAULTS.items() if fate[0] == "unreachable"}
    assert {path.partition("/")[0] for path in server.asked} <= may_pass
    assert "status/500" in server.asked and "status/404" not in server.asked
    left = statuses(raw / "failures.csv")
    assert left.keys() == at_network.keys() - mended

    ingest = ["data", "ingest", raw, "--annotations", annotations, "--out", clean, "--size", 32, "--workers", 2]
    rows = "SELECT COUNT(*) FROM ingested"
    kill_when(lambda: count(clean / "ledger.sqlite", rows) >= N_PHOTOS // 4, *ingest, "--quiet")
    decoded = count(clean / "ledger.sqlite", rows)
    second = run(*ingest)
    ledger = statuses(clean / "ledger.csv")
    for name, fate in expected.items():
        if name in left:
            assert ledger[name] == ("missing", f"not downloaded: {left[name][1]}")
        else:
            wanted = fate if fate[0] in ("failed", "blank", "duplicate") else ("kept", "")
            assert agrees(ledger[name], wanted), (name, ledger[name], wanted)
    assert not list(tmp_path.rglob(".tmp-*"))
    kept = [name for name, (status, _) in ledger.items() if status == "kept"]
    assert {path.stem for path in clean.glob("photos/*/*.jpg")} == set(kept)
    n_now = N_PHOTOS - len(left) - decoded
    assert f"{len(kept):,} of {N_PHOTOS:,} photos kept, {n_now:,} decoded now" in second
    assert " 0 decoded now" in run(*ingest)

    (clean / "recipe.toml").write_text(
        'name = "chain"\n[data]\nformat = "imaterialist-json"\nroot = "photos"\nannotations = "annotations.json"\n'
        '[folds]\nn_folds = 2\n[training]\nepochs = 1\n[[members]]\nname = "tiny"\nnetwork = "test_resnet"\nsize = 32\n'
    )
    run("train", clean / "recipe.toml", "--out", tmp_path / "run", "--quiet")
    predictions = load_predictions(tmp_path / "run" / "oof")
    assert sorted(predictions.ids.tolist()) == sorted(kept)
    assert np.isfinite(predictions.to_array()).all()
    print(f"\n{N_PHOTOS} photos, killed at {there} fetched after {asked_before} requests and at {decoded} decoded")
    print(first, second, Counter(status for status, _ in ledger.values()), sep="\n")
