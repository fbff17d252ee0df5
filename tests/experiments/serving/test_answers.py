"""What the server answers is what `predict` gives, bit for bit; its other pages say what they must."""

import asyncio
import json
import re
import socket

import numpy as np
import pytest

from experiments.serving.limits import ServingLimits
from experiments.serving.served import open_served
from experiments.serving.server import open_socket
from stacking import StackingEnsemble
from stacking.predictions import save_predictions

pytestmark = pytest.mark.network


def same_answers(answer, ensemble, part, without=()):
    """Compare an answer with scores to the plain functions."""
    y_score = ensemble.predict_proba(part, without=without, as_frame=False)
    y_pred = ensemble.predict(part, without=without, as_frame=False)
    assert [one["id"] for one in answer["predictions"]] == part.ids.tolist()
    got = [[one["scores"][label] for label in ensemble.labels_] for one in answer["predictions"]]
    np.testing.assert_array_equal(np.array(got, np.float32), y_score)
    named = [[label for label, is_there in zip(ensemble.labels_, row, strict=True) if is_there] for row in y_pred]
    assert [one["labels"] for one in answer["predictions"]] == named


@pytest.fixture(scope="module")
def ensemble(ensemble_folder):
    return StackingEnsemble.load(ensemble_folder)


def test_json_in_labels_out(small_server, client, as_json, ensemble, scores):
    rows = slice(3, 40)
    status, answer, _ = client.ask(small_server.port, "/predict?scores=true", as_json(rows))
    assert status == 200
    same_answers(answer, ensemble, scores.subset(samples=rows))
    status, answer, _ = client.ask(small_server.port, "/predict", as_json(rows))
    assert status == 200 and set(answer["predictions"][0]) == {"id", "labels"}


def test_members_and_labels_go_by_their_names(small_server, client, as_json, ensemble, scores):
    sent = as_json(slice(0, 9))
    turned = {name: [row[::-1] for row in rows] for name, rows in reversed(sent["scores"].items())}
    sent = {"scores": turned, "labels": sent["labels"][::-1], "ids": sent["ids"]}
    status, answer, _ = client.ask(small_server.port, "/predict?scores=true", sent)
    assert status == 200
    same_answers(answer, ensemble, scores.subset(samples=slice(0, 9)))


def test_names_may_be_left_out(small_server, client, as_json):
    sent = as_json(slice(0, 2))
    status, answer, _ = client.ask(small_server.port, body={"scores": sent["scores"]})
    assert status == 200 and [one["id"] for one in answer["predictions"]] == ["sample0", "sample1"]


def test_without_a_member(small_server, client, as_json, ensemble, scores):
    sent = as_json(slice(0, 9))
    del sent["scores"]["cnn/b"]
    assert client.ask(small_server.port, body=sent)[0] == 400
    status, answer, _ = client.ask(small_server.port, "/predict?scores=true&without=cnn/b", sent)
    assert status == 200
    same_answers(answer, ensemble, scores.subset(samples=slice(0, 9)), without=["cnn/b"])


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_bundle(small_server, client, ensemble, scores, tmp_path, dtype):
    path = save_predictions(scores.subset(samples=slice(0, 9)), tmp_path / "sent.npz", dtype=dtype)
    status, answer, _ = client.ask(small_server.port, "/predict?scores=true", path.read_bytes(), "application/x-npz")
    assert status == 200
    held = np.asarray(scores.subset(samples=slice(0, 9)).to_array().astype(dtype), np.float32)
    same_answers(answer, ensemble, type(scores)(held, scores.ids[:9], scores.models, scores.labels))


def test_thresholds_of_a_file(ensemble_folder, as_json, tmp_path, scores):
    never = {"format": "labelstack thresholds", "thresholds": dict.fromkeys(scores.labels)}
    (tmp_path / "never.json").write_text(json.dumps(never))
    served = open_served(ensemble_folder, ServingLimits(), thresholds=tmp_path / "never.json")
    answer, n_samples = served.answer_scores(json.dumps(as_json(slice(0, 20))).encode(), "application/json")
    assert n_samples == 20 and not any(one["labels"] for one in json.loads(answer)["predictions"])


def test_the_pages(small_server, client, ensemble):
    status, said, _ = client.ask(small_server.port, "/")
    assert status == 200 and said["members"] == list(ensemble.models_) and said["labels"] == list(ensemble.labels_)
    assert said["limits"]["rows"] == 50 and said["thresholds"] == ensemble.thresholds_.tolist()
    assert said["estimate"] == pytest.approx(ensemble.report_.estimate)
    assert client.ask(small_server.port, "/card")[0] == 200
    assert client.ask(small_server.port, "/health")[:2] == (200, {"status": "ok"})
    assert client.ask(small_server.port, "/ready")[:2] == (200, {"status": "ready"})
    assert client.ask(small_server.port, "/", method="HEAD")[:2] == (200, "")


def test_metrics_count(small_server, client, as_json):
    def read(name):
        found = re.search(rf"^{re.escape(name)} (\S+)$", client.ask(small_server.port, "/metrics")[1], re.MULTILINE)
        return float(found[1]) if found else 0.0

    names = (
        'labelstack_requests_total{page="/predict",status="200"}',
        'labelstack_requests_total{page="/predict",status="400"}',
        "labelstack_samples_total",
        "labelstack_request_seconds_count",
    )
    before = [read(name) for name in names]
    assert client.ask(small_server.port, body=as_json(slice(0, 7)))[0] == 200
    assert client.ask(small_server.port, body=b"{")[0] == 400
    assert [after - earlier for after, earlier in zip(map(read, names), before, strict=True)] == [1, 1, 7, 2]
    assert read("labelstack_requests_inside") == 0 and read("process_resident_memory_bytes") > 1e7


def test_an_answer_does_not_wait_for_acknowledgments():
    """In two pieces, as answers are sent, it would take 40 ms on a connection that is kept."""
    found = []

    class Connection(asyncio.Protocol):
        def connection_made(self, transport):
            connected = transport.get_extra_info("socket")
            found.append(connected.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            transport.abort()

    async def connect():
        with open_socket("127.0.0.1", 0) as opened:
            server = await asyncio.get_running_loop().create_server(Connection, sock=opened)
            reader, writer = await asyncio.open_connection(*opened.getsockname())
            assert await reader.read() == b"" and found[0]
            writer.close()
            server.close()

    asyncio.run(connect())
