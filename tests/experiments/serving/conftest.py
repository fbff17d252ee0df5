"""Servers as users start them: a process of the command line, asked over the loopback."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("starlette")
pytest.importorskip("uvicorn")
pytest.importorskip("prometheus_client")
pytest.importorskip("python_multipart")

import experiments
from stacking import PredictionSet, StackingEnsemble
from stacking.testing import draw_scores

ROOT = Path(experiments.__file__).parents[1]
MODELS, LABELS = ("cnn/a", "cnn/b", "specialist"), ("color:red", "color:blue", "sleeve:long", "neck:v")


@contextmanager
def started(folder, *options):
    """Start the command; give its port and process."""
    command = [sys.executable, "-m", "labelstack", "serve", str(folder), "--port", "0", *map(str, options)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", said)
        assert found, said + process.stderr.read()
        yield SimpleNamespace(port=int(found[1]), process=process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def ask(port, path="/predict", body=None, kind="application/json", method=None, headers=()):
    """Send one request; return status, what the body holds, and the headers."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    content = json.dumps(body).encode() if isinstance(body, dict | list) else body
    how = method or ("GET" if body is None else "POST")
    connection.request(how, path, content, {"Content-Type": kind, **dict(headers)} if body is not None else {})
    answer = connection.getresponse()
    read = answer.read()
    connection.close()
    is_json = answer.headers["Content-Type"] == "application/json" and read
    return answer.status, json.loads(read) if is_json else read.decode(), answer.headers


@pytest.fixture(scope="session")
def client():
    return SimpleNamespace(started=started, ask=ask)


@pytest.fixture(scope="session")
def scores():
    """Scores of three models for rows that come with truth, the third one blind to the last label."""
    rng = np.random.default_rng(0)
    y_true = (rng.random((240, len(LABELS))) < (0.5, 0.4, 0.3, 0.2)).astype(np.uint8)
    y_scores = draw_scores(y_true, [0.9, 1.3, 1.6], rng, signal=3.0)
    y_scores[2, :, 3] = np.nan
    return PredictionSet(y_scores, [f"photo {row}" for row in range(240)], MODELS, LABELS, y_true=y_true)


@pytest.fixture(scope="session")
def ensemble_folder(scores, tmp_path_factory):
    folder = tmp_path_factory.mktemp("served") / "ensemble"
    StackingEnsemble("logistic", rule="cross-validated").fit(scores).save(folder)
    return folder


@pytest.fixture(scope="session")
def small_server(ensemble_folder):
    """A server with small limits."""
    limits = ("--max-mib", 1, "--max-rows", 50, "--body-seconds", 1)
    with started(ensemble_folder, *limits) as running:
        yield running


@pytest.fixture(scope="session")
def as_json(scores):
    """What a client sends for some rows."""

    def _make(rows, **changes):
        part = scores.subset(samples=rows)
        sent = {}
        for name, matrix in zip(part.models, part.to_array().tolist(), strict=True):
            sent[name] = [[None if cell != cell else cell for cell in row] for row in matrix]
        return {"ids": part.ids.tolist(), "labels": list(part.labels), "scores": sent, **changes}

    return _make
