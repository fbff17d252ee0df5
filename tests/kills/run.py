"""SIGKILL every command that writes, at random moments, and look at what is left.

Run as ``python tests/kills/run.py --kills 20`` (``make kills``). Each attempt begins with a copy of the same folder, is
a process of its own (forked, so that the libraries are loaded once) and is killed with all that it has started. Then

- every file at a final name must be complete: it is read as what it is;
- an earlier result that was to be replaced must still be there, whole, or the new one in its place;
- the same command must finish, with the same bytes as one that was never killed, and leave no temporary file behind.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.server
import io
import json
import math
import os
import random
import shlex
import shutil
import signal
import sqlite3
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))
os.environ["LABELSTACK_CACHE"] = "cache"  # beside the results, so that a mirror is looked at as they are
import numpy as np
from bucket import open_bucket  # beside this file, whose folder comes first
from PIL import Image

TRAINING_RECIPE = (
    'name = "t"\nn_threads = 1\ncache = "none"\n[data]\nformat = "folder"\nroot = "photos"\nsplit_column = "split"\n'
    "[folds]\nn_folds = 2\n[training]\nepochs = 2\nbatch_size = 6\n"
    '[[members]]\nname = "m"\nnetwork = "test_resnet"\nsize = 32\n'
)


@dataclass(frozen=True)
class Command:
    """One command and where it writes."""

    line: str
    needs: tuple[str, ...] = ()  # commands that run before, once
    written: tuple[str, ...] = ("out",)
    differs: tuple[str, ...] = ()  # files that hold times


def _write_inputs(place: Path) -> None:
    """Write what all commands read."""
    from base_models.testing import write_tiny_photos
    from stacking.predictions import PredictionSet, save_predictions

    rng = np.random.default_rng(0)
    for number, name in enumerate(("p", "new", "other")):
        y_true = (rng.random((160, 5)) < 0.4).astype(np.uint8)
        y_true[:5] = np.eye(5)
        y_scores = 1 / (1 + np.exp(1.2 - 3 * y_true - rng.normal(size=(3, 160, 5))))
        ids = [f"photo{number}-{row}" for row in range(160)]
        save_predictions(
            PredictionSet(y_scores, ids, ["a", "b", "c"], list("vwxyz"), y_true=y_true), place / f"{name}.npz"
        )
    one = PredictionSet(rng.random((1, 160, 5)), [f"photo0-{row}" for row in range(160)], ["d"], list("vwxyz"))
    save_predictions(one, place / "d.npz")
    lines = [f"photo0-{row},{'vwxyz'[row % 5]}" for row in range(160)]
    (place / "truth.csv").write_text("\n".join(["id,labels", *lines]) + "\n")
    thresholds = {"format": "labelstack thresholds", "thresholds": dict.fromkeys("vwxyz", 0.4)}
    (place / "thresholds.json").write_text(json.dumps(thresholds))
    write_tiny_photos(place / "photos", 16, 6)
    (place / "recipe.toml").write_text(TRAINING_RECIPE)
    found = sorted(path.name for path in (place / "photos").rglob("*.png"))
    images = [{"id": number, "file_name": name} for number, name in enumerate(found)]
    annotations = [{"image_id": number, "category_id": number % 2} for number in range(len(found))]
    categories = [{"id": number, "name": name} for number, name in enumerate("vw")]
    coco = {"images": images, "annotations": annotations, "categories": categories}
    (place / "coco.json").write_text(json.dumps(coco))


FIT = "fit p.npz --method mean --out"
TRAIN = "train recipe.toml --device cpu --out"
REPORT = ("report.html", "report.md", "leaderboard.json", "leaderboard.csv", "manifest.json")
LABELS = ("out.csv", "out.npz", "out.csv.manifest.json")
COMMANDS = {
    "pack a bundle": Command("pack p.npz --drop a --out out.npz", written=("out.npz",)),
    "pack a bundle --overwrite": Command(
        "pack other.npz --overwrite --out out.npz", ("pack new.npz --out out.npz",), ("out.npz",)
    ),
    "pack a store, by label": Command("pack p.npz --by-label --out out"),
    "pack a store --overwrite": Command("pack other.npz --by-label --overwrite --out out", ("pack p.npz --out out",)),
    "pack --add --drop in place": Command(
        "pack out --add d=d.npz --drop b --out out", ("pack p.npz --by-label --out out",)
    ),
    "pack --truth --drop in place": Command(
        "pack out --truth truth.csv --drop b --out out", ("pack p.npz --by-label --out out",)
    ),
    "fit": Command(f"{FIT} out"),
    "fit --overwrite": Command("fit p.npz --method logistic --overwrite --out out", (f"{FIT} out",)),
    "fit --work": Command("fit p.npz --method lightgbm --work work --out out", written=("out", "work")),
    "predict": Command("predict e new.npz --out out.csv --scores-out out.npz", (f"{FIT} e",), LABELS),
    "predict --overwrite": Command(
        "predict e new.npz --overwrite --out out.csv --scores-out out.npz",
        (f"{FIT} e", "predict e other.npz --out out.csv --scores-out out.npz"),
        LABELS,
    ),
    "predict, tables of scores": Command(
        "predict e new.npz --out out.csv --scores-out scores.csv",
        (f"{FIT} e",),
        ("out.csv", "scores.csv", "out.csv.manifest.json"),
    ),
    "predict, scores as parquet": Command(
        "predict e new.npz --overwrite --out out.csv --scores-out scores.parquet",
        (f"{FIT} e", "predict e other.npz --out out.csv --scores-out scores.parquet"),
        ("out.csv", "scores.parquet", "out.csv.manifest.json"),
    ),
    "predict --thresholds": Command(
        "predict e new.npz --thresholds thresholds.json --out out.csv --scores-out out.npz", (f"{FIT} e",), LABELS
    ),
    "predict, tasks of Label Studio": Command(
        "predict e new.npz --format label-studio --overwrite --out out.json",
        (f"{FIT} e", "predict e other.npz --format label-studio --out out.json"),
        ("out.json", "out.json.manifest.json"),
    ),
    "predict, labels of FiftyOne": Command(
        "predict e new.npz --format fiftyone --out out.json", (f"{FIT} e",), ("out.json", "out.json.manifest.json")
    ),
    "evaluate": Command("evaluate e new.npz --out out", (f"{FIT} e",)),
    "compare": Command("compare p.npz --methods mean,greedy --folds 2 --out out", differs=REPORT),
    "compare --overwrite": Command(
        "compare other.npz --methods mean --folds 2 --overwrite --out out",
        ("compare p.npz --methods mean --folds 2 --out out",),
        differs=REPORT,
    ),
    "suspects": Command("suspects p.npz --top 20 --out out"),
    "optimize": Command("optimize p.npz --out out"),
    "data synthesize": Command("data synthesize --n-train 30 --n-validation 0 --n-test 10 --out out"),
    "data describe": Command("data describe recipe.toml --out out"),
    "data ingest": Command("data ingest photos --workers 1 --size 64 --out out", differs=("ledger.sqlite",)),
    "data ingest, labels of COCO": Command(
        "data ingest photos --annotations coco.json --workers 1 --size 64 --out out", differs=("ledger.sqlite",)
    ),
    "data pack-photos": Command("data pack-photos recipe.toml photos --size 32 --size 48 --workers 0 --out out"),
    "data pack-photos, to an object store": Command(  # decoded in a mirror on this machine, then put
        "data pack-photos recipe.toml photos --size 32 --size 48 --workers 0 --out bucket://packs",
        written=("packs", "cache"),
    ),
    "data pack-photos, from an object store": Command(  # under another name, so that there is no mirror yet
        "data pack-photos photos --size 32 --size 48 --workers 0 --out bucket://./packs",
        ("data pack-photos photos --size 32 --workers 0 --out bucket://packs",),
        ("packs", "cache"),
    ),
    "data download": Command(
        "data download urls.json --allow-private --connections 2 --out out", differs=("ledger.sqlite",)
    ),
    "train": Command(f"{TRAIN} out", differs=("manifest.json", "done.json", "history.csv", "README.md")),
    "train --processes": Command(
        f"{TRAIN} out --processes 2", differs=("manifest.json", "done.json", "history.csv", "README.md")
    ),
    "report": Command("report run --methods mean --out out", (f"{TRAIN} run",), differs=REPORT),
    "report --overwrite": Command(
        "report run --methods mean --seed 1 --overwrite --out out",
        (f"{TRAIN} run", "report run --methods mean --out out"),
        differs=REPORT,
    ),
    "learning-rate": Command("learning-rate recipe.toml --steps 10 --device cpu --out out"),
    "export --numpy": Command("export e --numpy out", (f"{FIT} e",)),
    "export --numpy --overwrite": Command(
        "export e --numpy out --overwrite", ("fit p.npz --method geometric --out g", "export g --numpy out", f"{FIT} e")
    ),
    "export --onnx": Command("export e --onnx out.onnx", (f"{FIT} e",), ("out.onnx",)),
    "explain": Command("explain run --images photos --top 1 --device cpu --out out", (f"{TRAIN} run",)),
    "predict --run --images": Command(
        "predict ens --run run --images photos --work work --device cpu --workers 0 --out out.csv --scores-out out.npz",
        (f"{TRAIN} run", "fit run/oof --method mean --out ens"),
        (*LABELS, "work"),
    ),
    "predict --run --images --processes": Command(
        "predict ens --run run --images photos --work work --device cpu --workers 0 --processes 2 "
        "--out out.csv --scores-out out.npz",
        (f"{TRAIN} run", "fit run/oof --method mean --out ens"),
        (*LABELS, "work"),
    ),
    "predict --run --images --processes, in a folder of its own": Command(
        "predict ens --run run --images photos --device cpu --processes 2 --out out.csv --scores-out out.npz",
        (f"{TRAIN} run", "fit run/oof --method mean --out ens"),
        (*LABELS, "out.csv.work"),
    ),
    "predict --run --images --fast": Command(
        "predict ens --run run --images photos --work work --device cpu --workers 0 --fast "
        "--out out.csv --scores-out out.npz",
        (f"{TRAIN} run", "fit run/oof --method mean --out ens"),
        (*LABELS, "work"),
    ),
    "ablation": Command(
        "ablation run --baseline m --out out",
        (f"{TRAIN} run",),
        differs=("ablation.json", "ablation.md", "ablation.html"),
    ),
}


def start(place: Path, line: str) -> int:
    """Fork a process group of its own that runs one command; return its id."""
    child = os.fork()
    if child:
        with contextlib.suppress(OSError):
            os.setpgid(child, child)
        return child
    os.setpgid(0, 0)
    code = 1
    try:
        os.chdir(place)
        log = os.open(place.parent / "log.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", buffering=1, closefd=False) for number in (1, 2))
        from experiments.cli import app

        try:
            app(shlex.split(line), standalone_mode=True)
        except SystemExit as ended:
            code = int(ended.code or 0)
    finally:
        os._exit(code)


def finish(place: Path, line: str) -> None:
    """Run a command to its end."""
    code = os.waitstatus_to_exitcode(os.waitpid(start(place, line), 0)[1])
    if code:
        raise AssertionError(f"{line} ended with {code}:\n{_tail(place)}")


def _tail(place: Path) -> str:
    """Return the last lines that commands have written."""
    return "\n".join((place.parent / "log.txt").read_text(errors="replace").splitlines()[-12:])


def _read_archive(path: Path) -> None:
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None, path


def _read_photo(path: Path) -> None:
    with Image.open(path) as photo:
        photo.load()


def _read_tensors(path: Path) -> None:
    from safetensors.numpy import load_file

    load_file(path)


def _read_database(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",), path


def _read_parquet(path: Path) -> None:
    from pyarrow import parquet

    parquet.read_table(path)


def _is_closed(path: Path) -> None:
    assert path.read_bytes().endswith(b"\n"), path


def _ends_with(end: str) -> Callable[[Path], None]:
    def check(path: Path) -> None:
        assert path.read_text(encoding="utf-8").removesuffix("\n").endswith(end), path

    return check


READERS: dict[str, Callable[[Path], object]] = {
    ".npy": np.load,
    ".npz": _read_archive,
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".jpg": _read_photo,
    ".png": _read_photo,
    ".parquet": _read_parquet,
    ".csv": _is_closed,
    ".html": _ends_with("</html>"),
    ".svg": _ends_with("</svg>"),
    ".safetensors": _read_tensors,
    ".sqlite": _read_database,
}


def check_whole(path: Path) -> None:
    """Read a file as what it is, if it is of a kind that is known; raise if a part of it is missing."""
    READERS.get(path.suffix, Path.read_bytes)(path)


def final_files(place: Path, written: tuple[str, ...]) -> dict[str, str]:
    """Hash what is at final names."""
    found = {}
    for name in written:
        for path in [place / name, *(place / name).rglob("*")]:
            parts = path.relative_to(place).parts
            if not path.is_file() or any(part.startswith((".tmp-", ".lock", ".labelstack")) for part in parts):
                continue
            if path.suffix in (".part", ".sqlite-wal", ".sqlite-shm"):
                continue
            found["/".join(parts)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def check_after_kill(place: Path, command: Command, old: dict[str, str]) -> None:
    """Check that nothing is in parts and that the old result, if any, is not lost."""
    left = final_files(place, command.written)
    for name in left:
        check_whole(place / name)
    lost = [name for name, digest in old.items() if left.get(name) != digest]
    if not lost:
        return
    out = place / "out"
    if not out.is_dir():  # single files, each of them whole
        assert not [name for name in lost if name not in left], f"lost: {lost}"
        return
    manifest = next(out / name for name in ("index.json", "manifest.json") if (out / name).exists())
    content = json.loads(manifest.read_text())
    hashes = content.get("sha256") or content["files"]  # the new result took the place of the old one: it is whole
    for name in hashes:
        assert f"out/{name}" in left, f"{name} is lost"
        if isinstance(hashes, dict):
            entry = hashes[name]
            assert left[f"out/{name}"] == (entry if isinstance(entry, str) else entry["sha256"]), (
                f"{name} is of another"
            )


@dataclass
class Outcome:
    """What became of the attempts on one command."""

    kills: int = 0
    ended: int = 0
    with_result: int = 0
    trouble: list[str] = field(default_factory=list)


def attempt_kills(name: str, start_place: Path, n_kills: int, rng: random.Random) -> Outcome:
    """Kill one command again and again."""
    command, outcome = COMMANDS[name], Outcome()
    scratch = start_place.parent
    base, whole = scratch / "base", scratch / "whole"
    shutil.copytree(start_place, base)
    for line in command.needs:
        finish(base, line)
    old = final_files(base, command.written)
    shutil.copytree(base, whole)
    began = time.monotonic()
    finish(whole, command.line)
    seconds = time.monotonic() - began
    expected = final_files(whole, command.written)
    while outcome.kills < n_kills:
        place = scratch / "killed"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(base, place)
        child, began = start(place, command.line), time.monotonic()
        code = _kill_after(child, rng.uniform(0, 1.02 * seconds))
        if code != -signal.SIGKILL:  # the machine was busier when the whole command was timed
            seconds = min(seconds, time.monotonic() - began)
        outcome.kills += 1
        outcome.ended += code != -signal.SIGKILL
        try:
            check_after_kill(place, command, old)
            outcome.with_result += bool(final_files(place, command.written))
            finish(place, command.line)
            after = final_files(place, command.written)
            assert set(after) == set(expected), set(after) ^ set(expected)
            changed = [
                path for path in after if after[path] != expected[path] and Path(path).name not in command.differs
            ]
            assert not changed, f"other bytes in {changed}"
            stale = [str(path) for path in place.rglob(".tmp-*")] + [str(path) for path in place.rglob(".labelstack*")]
            assert not stale, f"left behind: {stale}"
        except Exception as error:
            outcome.trouble.append(f"{type(error).__name__}: {error}")
    for folder in (base, whole, scratch / "killed"):
        shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _kill_after(child: int, seconds: float) -> int:
    """Kill a process group when its time is up; return how its process ended, which may be before."""
    ending, ended, status = time.monotonic() + seconds, 0, 0
    while time.monotonic() < ending:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            break
        time.sleep(min(0.01, max(0.0, ending - time.monotonic())))
    with contextlib.suppress(ProcessLookupError):  # what it has started, too
        os.killpg(child, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status if ended else os.waitpid(child, 0)[1])


class PhotoServer(http.server.BaseHTTPRequestHandler):
    """Serve small photos, slowly enough to be killed in between."""

    def do_GET(self) -> None:
        """Answer with a photo of its own color."""
        number = int(self.path.rpartition("/")[2].partition(".")[0])
        buffer = io.BytesIO()
        Image.new("RGB", (32, 32), (number * 9 % 256, 90, 200)).save(buffer, "PNG")
        time.sleep(0.01)
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(buffer.getvalue())))
        self.end_headers()
        self.wfile.write(buffer.getvalue())

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def serve() -> int:
    """Fork a server, so that no thread is in the way of later forks; return its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), PhotoServer)
    parent = os.getpid()
    if os.fork():
        port = server.server_address[1]
        server.socket.close()
        return port
    threading.Thread(target=server.serve_forever, daemon=True).start()
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(0)


def _pass_at_once(compute: Callable[[object], object], photos: object) -> float:
    """Compute, and say that it took a moment that is always the same."""
    compute(photos)
    return 0.001


def main() -> int:
    """Kill what is asked for, print a table, return 1 if anything was amiss."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="per command")
    parser.add_argument("--only", action="append", help="name of a command; may be repeated")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    names = options.only or list(COMMANDS)
    port = serve() if "data download" in names else 0
    open_bucket()
    import lightgbm  # noqa: F401 - loaded once, before the forks

    if {name.split()[0] for name in names} & {"train", "report", "explain", "ablation", "data", "predict"}:
        import base_models.runs.inference
        import base_models.runs.out_of_fold  # noqa: F401
        from base_models.training import trial

        trial.WORTHWHILE = math.inf  # neither which arithmetic is the faster here nor the seconds decide the bytes
        trial._time = _pass_at_once
    troubles = 0
    with tempfile.TemporaryDirectory(prefix="labelstack-kills-") as scratch:
        place = Path(scratch) / "start"
        place.mkdir()
        _write_inputs(place)
        images = [{"imageId": str(number), "url": f"http://127.0.0.1:{port}/{number}.png"} for number in range(24)]
        (place / "urls.json").write_text(json.dumps({"images": images, "annotations": []}))
        for name in names:
            found = attempt_kills(name, place, options.kills, random.Random(f"{options.seed}{name}"))
            print(
                f"{name}: {found.kills} kills ({found.ended} had ended), {found.with_result} with final files,",
                f"{len(found.trouble)} amiss",
                flush=True,
            )
            for line in found.trouble:
                print(f"    {line}", flush=True)
            troubles += len(found.trouble)
    return min(1, troubles)


if __name__ == "__main__":
    sys.exit(main())
