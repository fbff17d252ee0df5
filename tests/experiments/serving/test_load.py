"""Many clients at once: none is dropped, memory stays bounded, a full queue says so, a signal lets all be answered."""

import json
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from stacking import StackingEnsemble

pytestmark = pytest.mark.network
N_PLACES = 6


@pytest.fixture(scope="module")
def server(client, ensemble_folder):
    with client.started(ensemble_folder, "--max-waiting", N_PLACES) as running:
        yield running


def resident(client, server):
    metrics = client.ask(server.port, "/metrics")[1]
    return float(re.search(r"^process_resident_memory_bytes (\S+)$", metrics, re.MULTILINE)[1])


def begin(port, body):
    """Send a request without its end; it takes a place."""
    head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    connection.sendall(head.encode() + body[:-10])
    return connection


def finish(connection, body):
    """Send the end, and read the answer."""
    connection.sendall(body[-10:])
    came = b""
    while b"\r\n\r\n" not in came:
        came += connection.recv(65536)
    head, _, rest = came.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])
    while len(rest) < length:
        rest += connection.recv(65536)
    connection.close()
    return head, json.loads(rest)


def wait_until_all_are_inside(client, port, n_inside):
    for _ in range(500):
        if f"labelstack_requests_inside {float(n_inside)}" in client.ask(port, "/metrics")[1]:
            return
    raise AssertionError("they did not come in")


def test_many_clients_at_once_are_all_answered_rightly_and_memory_stays(
    server, client, as_json, scores, ensemble_folder
):
    """Clients that are sent away ask again, as Retry-After says; so all are answered in the end."""
    ensemble = StackingEnsemble.load(ensemble_folder)
    parts = [slice(start, start + 60) for start in range(0, 180, 7)]
    bodies = [as_json(part) for part in parts]
    expected = [
        [row.nonzero()[0].tolist() for row in ensemble.predict(scores.subset(samples=part), as_frame=False)]
        for part in parts
    ]
    place = {label: number for number, label in enumerate(scores.labels)}
    sent_away, pause = [], threading.Event()

    def work(number):
        which = number % len(parts)
        while True:
            status, answer, headers = client.ask(server.port, body=bodies[which])
            if status != 503:
                break
            sent_away.append(headers["Retry-After"])
            pause.wait(0.01)
        return status, [[place[label] for label in one["labels"]] for one in answer["predictions"]] == expected[which]

    with ThreadPoolExecutor(24) as pool:
        list(pool.map(work, range(60)))  # whatever is loaded late is loaded now
        before = resident(client, server)
        assert list(pool.map(work, range(300))) == [(200, True)] * 300
    assert set(sent_away) <= {"1"}
    assert resident(client, server) - before < 60 * 2**20
    assert "labelstack_requests_inside 0.0" in client.ask(server.port, "/metrics")[1]


def test_a_full_queue_sends_away_at_once_and_takes_again(server, client, as_json):
    body = json.dumps(as_json(slice(0, 5))).encode()
    held = [begin(server.port, body) for _ in range(N_PLACES)]
    wait_until_all_are_inside(client, server.port, N_PLACES)
    status, answer, headers = client.ask(server.port, body=body)
    assert (status, headers["Retry-After"]) == (503, "1") and "ask again" in answer["error"]
    assert client.ask(server.port, "/ready")[0] == 503 and client.ask(server.port, "/health")[0] == 200
    for connection in held:
        head, answer = finish(connection, body)
        assert head.startswith(b"HTTP/1.1 200") and len(answer["predictions"]) == 5
    assert client.ask(server.port, "/ready")[0] == 200 and client.ask(server.port, body=body)[0] == 200


def test_on_sigterm_what_is_inside_is_answered(server, client, as_json):
    body = json.dumps(as_json(slice(0, 5))).encode()
    held = [begin(server.port, body) for _ in range(N_PLACES)]
    wait_until_all_are_inside(client, server.port, N_PLACES)
    server.process.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + 20
    with pytest.raises(ConnectionRefusedError):  # it takes no further connections
        while time.monotonic() < deadline:
            socket.create_connection(("127.0.0.1", server.port), timeout=5).close()
            time.sleep(0.05)
    for connection in held:
        head, answer = finish(connection, body)
        assert head.startswith(b"HTTP/1.1 200") and len(answer["predictions"]) == 5
    _, said = server.process.communicate(timeout=30)
    assert server.process.returncode == 0 and "all requests that were inside are answered" in said
    assert "Traceback" not in said
