"""The commands `data download` and `data ingest`, as typed."""

import functools
import http.server
import io
import json
import threading

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("aiohttp")

pytestmark = pytest.mark.network


@pytest.fixture
def site(tmp_path):
    """Serve six photos and one page; give the annotation file that names them, and one photo that is not there."""
    folder = tmp_path / "site"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        pixels = rng.integers(0, 256, (6, 4, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((60, 90)).save(folder / f"{number}.jpg")
    (folder / "6.jpg").write_text("<html>sold out</html>")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    urls = [f"http://127.0.0.1:{server.server_address[1]}/{number}.jpg" for number in range(8)]
    content = {
        "images": [{"imageId": str(number), "url": url} for number, url in enumerate(urls)],
        "annotations": [{"imageId": str(number), "labelId": [str(number % 3)]} for number in range(8)],
    }
    path = tmp_path / "train.json"
    path.write_text(json.dumps(content))
    yield path
    server.shutdown()
    thread.join(10)
    server.server_close()


def test_download_says_what_became_of_the_photos(labelstack, site, tmp_path):
    raw = tmp_path / "raw"
    dry = labelstack("data", "download", site, "--out", raw, "--dry-run")
    assert dry.exit_code == 0, dry.output
    assert "8 of 8 photos to fetch × 100 kB (assumed): 0.00 GB needed" in dry.stdout
    assert not raw.exists()
    done = labelstack("data", "download", site, "--out", raw, "--allow-private", "--first-wait", 0)
    assert done.exit_code == 0, done.output
    assert "6 of 8 photos" in done.stdout
    assert "2 failed, 0 of them for a reason that may pass" in done.stdout
    assert "1 × HTTP 404" in done.stdout
    for path in raw.glob("photos/*/*"):
        Image.open(io.BytesIO(path.read_bytes())).load()


def test_download_refuses_the_loopback_unasked(labelstack, site, tmp_path):
    done = labelstack("data", "download", site, "--out", tmp_path / "raw")
    assert done.exit_code == 0, done.output
    assert "0 of 8 photos" in done.stdout
    assert "8 failed" in done.stdout


def test_download_in_a_folder_in_use_is_bad_input(labelstack, site, tmp_path):
    from stacking.files.run_lock import run_lock

    with run_lock(tmp_path / "raw"):
        done = labelstack("data", "download", site, "--out", tmp_path / "raw")
    assert done.exit_code == 2
    assert "another run is working in this folder" in done.stderr


def test_download_then_ingest_then_a_manifest(labelstack, site, tmp_path):
    from base_models.manifest import load_manifest
    from base_models.recipe.data import DataConfig

    raw, clean = tmp_path / "raw", tmp_path / "clean"
    labelstack("data", "download", site, "--out", raw, "--allow-private", "--quiet")
    done = labelstack("data", "ingest", raw, "--annotations", site, "--out", clean, "--size", 64, "--workers", 1)
    assert done.exit_code == 0, done.output
    assert "6 of 8 photos kept, 6 decoded now" in done.stdout
    assert "0 duplicates, 0 blank, 0 failed, 2 missing" in done.stdout
    assert "1 × not downloaded: HTTP 404" in done.stdout
    following = f"next: labelstack init {clean / 'photos'} {clean / 'annotations.json'} --out "
    assert following in done.stderr
    config = DataConfig(format="imaterialist-json", root="photos", annotations="annotations.json")
    manifest = load_manifest(config, clean)
    assert manifest.ids.tolist() == [str(number) for number in range(6)]
    assert manifest.read_photo(3).size == (64, 64)


def test_ingest_of_no_folder_is_bad_input(labelstack, tmp_path):
    done = labelstack("data", "ingest", tmp_path / "absent", "--out", tmp_path / "clean")
    assert done.exit_code == 2
    assert "must be a folder of photos" in done.stderr
    assert labelstack("data", "ingest", tmp_path, "--out", tmp_path / "x", "--shape", "round").exit_code == 2


def test_ingest_starts_as_many_processes_as_it_may_use(labelstack, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("stacking.process.processors.usable_processors", lambda: 3)
    monkeypatch.setattr("base_models.ingest.ingest_photos", lambda *given, **_: asked.append(given[3].workers))
    labelstack("data", "ingest", tmp_path, "--out", tmp_path / "clean")
    assert asked == [3]
