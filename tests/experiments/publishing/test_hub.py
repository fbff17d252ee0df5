"""The Hub: a fake one on the loopback interface takes a push and gives it back; what is wrong is told in a sentence."""

import base64
import hashlib
import json
import shutil
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")

from experiments.publishing.hub import fetch_ensemble, push, split_address  # noqa: E402
from stacking import StackingEnsemble, load_predictions  # noqa: E402

COMMIT = "a" * 40


class FakeHub(BaseHTTPRequestHandler):
    """One repository in memory, and just so much of the Hub's interface as its client asks for."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def answer(self, body=b"", status=200, **headers):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def do_POST(self):
        files, body = self.server.files, self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/api/repos/create":
            self.server.created = json.loads(body)
            self.answer({"url": f"{self.server.url}/me/blend", "name": "me/blend", "id": "me/blend"})
        elif self.path == "/api/validate-yaml":
            self.answer({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            self.answer(
                {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked]}
            )
        elif "/commit/" in self.path:
            for entry in map(json.loads, body.splitlines()):
                if entry["key"] == "file":
                    files[entry["value"]["path"]] = base64.b64decode(entry["value"]["content"])
            self.answer(
                {"commitUrl": f"{self.server.url}/me/blend/commit/{COMMIT}", "commitOid": COMMIT, "hookOutput": ""}
            )
        else:
            self.answer({}, 404)

    def do_GET(self):
        files, path = self.server.files, self.path.partition("?")[0]
        if not path.startswith(("/api/models/me/blend", "/me/blend/resolve/")):
            self.answer(
                {"error": "Repository not found"}, 404, X_Error_Code="RepoNotFound", X_Error_Message="no such repo"
            )
        elif path.startswith("/api/models/me/blend/tree/"):
            self.answer([{"type": "file", "path": name, "size": len(data), "oid": "0"} for name, data in files.items()])
        elif path.startswith("/api/"):
            siblings = [{"rfilename": name} for name in files]
            self.answer({"id": "me/blend", "modelId": "me/blend", "sha": COMMIT, "siblings": siblings, "private": True})
        else:
            data = files[path.split("/", 5)[5]]
            etag = f'"{hashlib.sha1(data).hexdigest()}"'
            self.answer(data, ETag=etag, X_Repo_Commit=COMMIT, Content_Type="application/octet-stream")

    do_HEAD = do_GET


@pytest.fixture
def server(monkeypatch):
    made = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    made.url, made.files, made.created = f"http://127.0.0.1:{made.server_port}", {}, None
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    yield made
    made.shutdown()
    made.server_close()
    thread.join()


@pytest.fixture
def ensemble(labelstack, bundle, tmp_path):
    assert labelstack("fit", bundle, "--method", "greedy", "--out", tmp_path / "ensemble").exit_code == 0
    return tmp_path / "ensemble"


@pytest.mark.network
def test_what_is_pushed_comes_back(server, ensemble, bundle):
    (ensemble / "secret.txt").write_text("my own")
    where = push(ensemble, "me/blend", token="hf_none", endpoint=server.url)
    assert where == f"{server.url}/me/blend/commit/{COMMIT}" and (
        server.created.get("private") is True or server.created.get("visibility") == "private"
    ), server.created
    assert "README.md" in server.files and "report.html" in server.files and "secret.txt" not in server.files
    card = hub.ModelCard(server.files["README.md"].decode())
    assert card.data.library_name == "labelstack" and card.data.eval_results[0].metric_type == "f1"
    fetched = fetch_ensemble("hf://me/blend@main", token="hf_none", endpoint=server.url)
    scores = load_predictions(bundle)
    expected = StackingEnsemble.load(ensemble).predict_proba(scores, as_frame=False)
    np.testing.assert_array_equal(fetched.predict_proba(scores, as_frame=False), expected)
    server.files["arrays/0000.npy"] += b"x"
    with pytest.raises(ValueError, match="was changed after it was saved"):
        fetch_ensemble("hf://me/blend", token="hf_none", endpoint=server.url)


@pytest.mark.network
def test_a_hub_that_refuses_is_told_in_a_sentence(server, ensemble):
    with pytest.raises(OSError, match=r"hf://you/other could not be fetched from the Hub: \w+"):
        fetch_ensemble("hf://you/other", token="hf_none", endpoint=server.url)
    with pytest.raises(OSError, match=r"me/blend could not be pushed to the Hub: \w+"):
        push(ensemble, "me/blend", token="hf_none", endpoint=f"{server.url}/nothing")


def test_only_whole_results_of_ours_are_pushed(labelstack, ensemble, tmp_path):
    with pytest.raises(ValueError, match="folder must be one that `labelstack fit` or `labelstack train` wrote"):
        push(tmp_path, "me/blend")
    damaged = shutil.copytree(ensemble, tmp_path / "damaged")
    (damaged / "combiner.json").write_text("{}")
    with pytest.raises(ValueError, match="was changed after it was saved"):
        push(damaged, "me/blend")
    run = tmp_path / "run"
    run.mkdir()
    (run / "manifest.json").write_text('{"recipe_hash": "0", "finished": false}')
    with pytest.raises(ValueError, match="run must be finished"):
        push(run, "me/blend")
    for name in ("blend", "me/blend@main", "a/b/c", "../x"):
        done = labelstack("push", ensemble, name)
        assert done.exit_code == 2 and "Traceback" not in done.stderr, done.output


def test_addresses():
    assert split_address("me/blend") == ("me/blend", None)
    with pytest.raises(ValueError, match="must be user/name or hf://user/name@revision: got 'http://x'"):
        split_address("http://x")
