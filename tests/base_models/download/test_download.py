"""A download from a hostile server: good photos are there, failures have a reason, nothing is asked in vain."""

import csv
import errno
import gc
import http.server
import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import threading

import pytest
from PIL import Image

pytest.importorskip("aiohttp")

from base_models.download import LEDGER_NAME, DownloadOptions, download_photos, estimate_download, read_failures
from base_models.download.ledger import Ledger
from stacking.files.run_lock import FolderInUseError, run_lock

pytestmark = pytest.mark.network

OPTIONS = DownloadOptions(
    connections=8, per_host=8, attempts=2, timeout=0.6, first_wait=0.01, max_photo_bytes=50_000, allow_private=True
)
FINAL = {
    "gone": ("status/404", "HTTP 404"),
    "removed": ("status/410", "HTTP 410"),
    "forbidden": ("status/403", "HTTP 403"),
    "html": ("html/1", "not a photo"),
    "empty": ("empty/1", "empty answer"),
    "large": ("large/1", "more bytes than the limit"),
    "endless": ("endless/1", "more bytes than the limit"),
    "source": ("cut-at-source/1", "cut before its end"),
    "gzip": ("encoded/gzip", "compressed as 'gzip' unasked"),
    "chained": ("encoded/gzip+br", "compressed as 'gzip, br' unasked"),
    "ssh": ("raw/ssh", "no valid HTTP"),
    "lies": ("raw/lies", "no valid HTTP"),
    "noai": ("robots/?tag=noindex,%20noai", "forbids its use for AI"),
    "to-ftp": ("to/?url=ftp://127.0.0.1/x", "only http and https"),
    "loop": ("loop/", "more than 4 redirects"),
    "to-file": ("to/?url=file:///etc/passwd", "only http and https"),
    "to-login": ("to/?url=http://a:b@127.0.0.1/x", "credentials"),
}
PASSING = {
    "slow": ("slow/1", "no whole answer within 0.6 s"),
    "drip": ("drip/1", "no whole answer within 0.6 s"),
    "transit": ("cut-in-transit/1", "ended early"),
    "down": ("down/1", "HTTP 503"),
    "headers": ("raw/headers", "no whole answer within 0.6 s"),
}
GOOD = {
    "7": "photo/7",
    "007": "photo/8",
    "twin": "photo/7",
    "moved": "moved/9",
    "f500": "flaky/500",
    "f429": "flaky/429",
}


@pytest.fixture
def rows():
    """Read the ledger of a folder as plain SQLite."""

    def read(folder):
        with sqlite3.connect(folder / LEDGER_NAME) as connection:
            found = connection.execute("SELECT id, status, reason, attempts, file FROM photos").fetchall()
        connection.close()
        return {row[0]: row[1:] for row in found}

    return read


@pytest.fixture
def hostile(server, write_urls):
    paths = {**GOOD, **{name: path for name, (path, _) in {**FINAL, **PASSING}.items()}}
    urls = {name: server.url(path) for name, path in paths.items()}
    elsewhere = {"refused": "http://127.0.0.1:9/closed.jpg", "later": server.url("later/3600", "localhost")}
    return write_urls({**urls, **elsewhere})


def test_a_hostile_server(hostile, server, tmp_path, rows):
    out = tmp_path / "raw"
    report = download_photos(hostile, out, OPTIONS)
    assert report.counts == {"waiting": 0, "fetched": 6, "refused": len(FINAL), "unreachable": len(PASSING) + 2}
    ledger = rows(out)
    for name in GOOD:
        status, reason, attempts, file = ledger[name]
        assert (status, reason) == ("fetched", ""), name
        assert attempts == (2 if name.startswith("f") else 1)
        Image.open(io.BytesIO((out / file).read_bytes())).load()
    for name, (_, reason) in FINAL.items():
        assert ledger[name][0] == "refused", ledger[name]
        assert reason in ledger[name][1]
        assert ledger[name][2] == 1, "what is final is not tried again"
    for name, (_, reason) in PASSING.items():
        assert ledger[name][0] == "unreachable", ledger[name]
        assert reason in ledger[name][1]
        assert ledger[name][2] == 2
    assert server.asked["loop/"] == 5, "the first request and four redirects"
    assert "no connection" in ledger["refused"][1]
    assert ledger["later"][:3] == ("unreachable", "HTTP 429 (asks to wait 3600 s)", 1)
    assert sum(report.reasons.values()) == len(FINAL) + len(PASSING) + 2
    failed = {*FINAL, *PASSING, "refused", "later"}
    assert read_failures(out).keys() == failed
    with (out / "failures.csv").open(newline="") as file:
        assert {row["id"] for row in csv.DictReader(file)} == failed
    assert not list(out.rglob(".tmp-*"))


def test_the_rerun_asks_only_for_what_is_worth_it(server, write_urls, tmp_path):
    paths = {"1": "photo/1", "gone": "status/404", "html": "html/1", "down": "down/1"}
    urls = write_urls({name: server.url(path) for name, path in paths.items()})
    out = tmp_path / "raw"
    download_photos(urls, out, OPTIONS)
    server.asked.clear()
    again = download_photos(urls, out, OPTIONS)
    assert (again.n_fetched, sum(server.asked.values())) == (0, 0)
    server.broken = False
    mended = download_photos(urls, out, DownloadOptions(allow_private=True, retry_failed=True))
    assert dict(server.asked) == {"down/1": 1}
    assert mended.counts == {"waiting": 0, "fetched": 2, "refused": 2, "unreachable": 0}


def test_a_lost_file_and_a_changed_url_are_fetched_again(server, write_urls, tmp_path, rows):
    out = tmp_path / "raw"
    download_photos(write_urls({str(n): server.url(f"photo/{n}") for n in range(4)}), out, OPTIONS)
    (out / rows(out)["1"][3]).unlink()
    server.asked.clear()
    changed = {str(n): server.url(f"photo/{n}") for n in range(4)} | {"2": server.url("photo/22")}
    report = download_photos(write_urls(changed), out, OPTIONS)
    assert dict(server.asked) == {"photo/1": 1, "photo/22": 1}
    assert report.counts["fetched"] == 4


def test_private_addresses_are_refused_unless_allowed(server, write_urls, tmp_path):
    urls = write_urls({"1": server.url("photo/1"), "2": "http://127.0.0.1/x.jpg"})
    report = download_photos(urls, tmp_path / "raw", DownloadOptions())
    assert report.counts["refused"] == 2
    assert not server.asked
    assert any("127.0.0.1 is a private address" in reason for reason in report.reasons)


def test_a_redirect_to_a_private_address_is_refused(server, write_urls, tmp_path, monkeypatch):
    """The server itself is let pass; where it sends the client is not."""
    from base_models.download import fetching

    def first_hop_only(text, *, allow_private=False):
        return check_url(text, allow_private=f":{server.port}/" in text)

    check_url = fetching.check_url
    monkeypatch.setattr(fetching, "check_url", first_hop_only)
    targets = {"meta": "http://169.254.169.254/latest", "router": "http://192.168.0.1/", "v6": "http://[::1]/x"}
    urls = write_urls({name: server.url(f"to/?url={target}") for name, target in targets.items()})
    report = download_photos(urls, tmp_path / "raw", DownloadOptions(first_wait=0.01))
    assert report.counts["refused"] == 3
    assert all("private address" in reason for reason in report.reasons)


def test_a_proxy_of_the_environment_is_not_asked(server, write_urls, tmp_path, monkeypatch):
    """A proxy would connect for us, and to addresses that we refuse."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    report = download_photos(write_urls({"1": server.url("photo/1")}), tmp_path / "raw", OPTIONS)
    assert report.counts["fetched"] == 1


def test_one_host_is_not_overrun(server, write_urls, tmp_path):
    urls = write_urls({str(n): server.url(f"soon/{n % 9}") for n in range(500)})
    report = download_photos(urls, tmp_path / "raw", DownloadOptions(per_host=3, allow_private=True))
    assert report.counts["fetched"] == 500
    assert 2 <= server.most_at_once <= 3


def test_a_host_that_asks_for_a_long_rest_is_asked_no_more(server, write_urls, tmp_path, rows):
    paths = {f"later{n}": server.url("later/3600", "localhost") for n in range(40)}
    good = {str(n): server.url(f"photo/{n}") for n in range(40)}
    out = tmp_path / "raw"
    report = download_photos(write_urls(paths | good), out, DownloadOptions(per_host=2, allow_private=True))
    assert (report.counts["fetched"], report.counts["unreachable"], report.stopped) == (40, 40, "")
    assert server.asked["later/3600"] <= 2
    left = [row for name, row in rows(out).items() if row[1] == "the host asks to wait longer than 120 s"]
    assert len(left) >= 38 and {row[2] for row in left} == {0}


def test_a_short_rest_is_kept_by_the_whole_host(server, write_urls, tmp_path):
    urls = write_urls({"first": server.url("rest/1"), **{str(n): server.url(f"photo/{n}") for n in range(4)}})
    report = download_photos(urls, tmp_path / "raw", DownloadOptions(per_host=1, allow_private=True))
    assert report.counts["fetched"] == 5
    assert server.when["photo/0"] - server.when["rest/1"] >= 0.99


def test_a_dead_host_is_given_up_while_others_answer(server, write_urls, tmp_path, rows):
    urls = {str(n): server.url(f"photo/{n}") for n in range(60)}
    urls |= {f"dead{n}": "http://localhost:9/x.jpg" for n in range(200)}
    out = tmp_path / "raw"
    report = download_photos(write_urls(urls), out, DownloadOptions(attempts=1, per_host=2, allow_private=True))
    assert (report.counts["fetched"], report.counts["unreachable"]) == (60, 200)
    asked = [name for name, row in rows(out).items() if name.startswith("dead") and row[2]]
    assert 20 <= len(asked) < 200  # those asked before anybody has answered count too
    assert report.reasons["the host has not answered 20 requests"] == 200 - len(asked)


def test_where_nothing_answers_the_run_stops_and_photos_wait(write_urls, tmp_path):
    urls = write_urls({str(n): "http://127.0.0.1:9/x.jpg" for n in range(400)})
    report = download_photos(urls, tmp_path / "raw", DownloadOptions(attempts=1, allow_private=True))
    assert report.stopped == "hosts, of which none answers"
    assert report.counts["waiting"] >= 100 and report.counts["unreachable"] >= 50


@pytest.mark.parametrize(
    ("tag", "heed", "status"),
    [
        ("noimageai", True, "refused"),
        ("labelstack: noai", True, "refused"),
        ("otherbot: noai", True, "fetched"),
        ("noindex, nofollow", True, "fetched"),
        ("noai", False, "fetched"),
    ],
)
def test_wishes_about_ai_are_heeded(server, write_urls, tmp_path, rows, tag, heed, status):
    urls = write_urls({"1": server.url(f"robots/?tag={tag}")})
    download_photos(urls, tmp_path / "raw", DownloadOptions(allow_private=True, heed_noai=heed))
    assert rows(tmp_path / "raw")["1"][0] == status


def test_the_client_says_who_it_is(server, write_urls, tmp_path):
    download_photos(write_urls({"1": server.url("agent/1")}), tmp_path / "raw", OPTIONS)
    assert server.agent.startswith("labelstack/")


def test_byte_limit_ends_the_run_and_the_next_goes_on(server, write_urls, tmp_path):
    urls = write_urls({str(n): server.url(f"photo/{n}") for n in range(30)})
    out = tmp_path / "raw"
    report = download_photos(urls, out, DownloadOptions(allow_private=True, max_total_bytes=10_000))
    assert report.stopped == "byte limit"
    assert 0 < report.n_bytes <= 10_000
    assert report.counts["waiting"] == 30 - report.n_fetched > 0
    assert sum(path.stat().st_size for path in out.glob("photos/*/*")) == report.n_bytes
    assert download_photos(urls, out, OPTIONS).counts["fetched"] == 30


def test_time_limit_leaves_the_rest_waiting(server, write_urls, tmp_path):
    urls = write_urls({"1": server.url("photo/1"), "slow": server.url("slow/1")})
    report = download_photos(urls, tmp_path / "raw", DownloadOptions(allow_private=True, time_limit=0.7))
    assert report.stopped == "time limit"
    assert (report.counts["fetched"], report.counts["waiting"]) == (1, 1)


def test_urls_that_a_spreadsheet_would_run_are_quoted(write_urls, tmp_path):
    urls = write_urls({"1": "=cmd()", "2": "@x", "3": "http://127.0.0.1/a,b\n.jpg"})
    report = download_photos(urls, tmp_path / "raw", DownloadOptions())
    assert report.counts["refused"] == 3
    with (tmp_path / "raw" / "failures.csv").open(newline="") as file:
        assert [row["url"][:2] for row in csv.DictReader(file)] == ["'=", "'@", "ht"]


def test_progress_reaches_its_total(server, write_urls, tmp_path):
    calls = []
    urls = write_urls({"1": server.url("photo/1"), "2": server.url("photo/2"), "no": server.url("status/404")})
    download_photos(urls, tmp_path / "raw", OPTIONS, progress=lambda *call: calls.append(call))
    assert [done for done, _, _ in calls] == [1, 2, 3]
    assert calls[-1] == (3, 3, "fetching photos (1 failed)")


def test_two_runs_in_one_folder(write_urls, tmp_path):
    with run_lock(tmp_path / "raw"), pytest.raises(FolderInUseError, match="another run is working in this folder"):
        download_photos(write_urls({"1": "http://example.org/1.jpg"}), tmp_path / "raw", OPTIONS)


def test_a_full_disk_ends_the_run(server, write_urls, tmp_path, monkeypatch):
    from base_models.download import download

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(download, "atomic_write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        download_photos(write_urls({"1": server.url("photo/1")}), tmp_path / "raw", OPTIONS)


def test_the_estimate_measures_what_is_there(server, write_urls, tmp_path):
    out = tmp_path / "raw"
    urls = {str(n): server.url(f"photo/{n}") for n in range(60)}
    before = estimate_download(write_urls(urls), out)
    assert (before.n_photos, before.n_waiting, before.measured) == (60, 60, False)
    assert not out.exists()
    download_photos(write_urls(urls), out, OPTIONS)
    urls |= {str(n): server.url(f"photo/{n}") for n in range(60, 100)}
    after = estimate_download(write_urls(urls), out)
    assert (after.n_waiting, after.measured) == (40, True)
    assert after.bytes_needed == pytest.approx(40 * after.bytes_per_photo, abs=1)
    assert 300 < after.bytes_per_photo < 3000


def test_a_foreign_ledger_is_refused(write_urls, tmp_path):
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / LEDGER_NAME).write_text("this is no database at all, but a text")
    with pytest.raises(ValueError, match="must be the ledger of a download"):
        download_photos(write_urls({"1": "http://example.org/1.jpg"}), tmp_path / "raw", OPTIONS)


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        ([], "must hold a list 'images'"),
        ([{"imageId": "1"}], "must have a text 'url'"),
        ([{"imageId": "../x", "url": "http://a/b"}], "1 to 128 letters"),
        ([{"imageId": "1", "url": "http://a/b"}, {"image_id": 1, "url": "http://a/c"}], "an id of its own"),
    ],
)
def test_annotations_without_usable_urls(tmp_path, images, reason):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"images": images}))
    with pytest.raises(ValueError, match=reason):
        download_photos(path, tmp_path / "raw", OPTIONS)
    assert not (tmp_path / "raw").exists()


def test_lists_of_urls_count_as_their_first(server, tmp_path):
    path = tmp_path / "train.json"
    path.write_text(json.dumps({"images": [{"image_id": 5, "url": [server.url("photo/5")]}]}))
    assert download_photos(path, tmp_path / "raw", OPTIONS).counts["fetched"] == 1


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"connections": 0}, "connections must be at least 1"),
        ({"timeout": 0}, "timeout must be above 0"),
        ({"first_wait": -1}, "first_wait must be at least 0"),
    ],
)
def test_options_are_checked(wrong, reason):
    with pytest.raises(ValueError, match=reason):
        DownloadOptions(**wrong)


@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        ("127.0.0.1", "refused", "shop.example leads to the private address 127.0.0.1"),
        (None, "unreachable", "the host's name does not resolve"),
    ],
)
def test_names_that_lead_nowhere_or_inside(server, write_urls, tmp_path, monkeypatch, rows, answer, status, reason):
    def getaddrinfo(*_, **__):
        if answer is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (answer, 80))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    options = DownloadOptions(attempts=2, first_wait=0.0)
    download_photos(write_urls({"1": "http://shop.example/1.jpg"}), tmp_path / "raw", options)
    assert rows(tmp_path / "raw")["1"][:2] == (status, reason)


def test_a_name_that_changes_its_address_is_not_asked_again_for_it(server, write_urls, tmp_path, monkeypatch, rows):
    """DNS rebinding: what was checked is what is connected to."""
    answers = iter(["93.184.216.34", "127.0.0.1", "127.0.0.1"])

    def getaddrinfo(*_, **__):
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (next(answers), 80))]

    asked = []

    async def connect(self, *args, **kwargs):
        asked.append(kwargs["addr_infos"][0][4][0])
        raise ConnectionRefusedError(111, "Connection refused")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr("aiohttp.TCPConnector._wrap_create_connection", connect)
    urls = write_urls({"1": "http://shop.example/1.jpg", "2": "http://shop.example/2.jpg"})
    download_photos(urls, tmp_path / "raw", DownloadOptions(attempts=3, first_wait=0.0))
    assert set(asked) == {"93.184.216.34"}


def test_a_server_without_tls_is_refused_at_once(server, write_urls, tmp_path, rows):
    urls = write_urls({"1": server.url("photo/1").replace("http:", "https:")})
    download_photos(urls, tmp_path / "raw", OPTIONS)
    assert rows(tmp_path / "raw")["1"][:3] == ("refused", "the server's certificate or TLS is not valid", 1)


def test_a_certificate_that_nobody_signed_is_refused_at_once(write_urls, tmp_path, rows):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    made = ["-keyout", "key.pem", "-out", "cert.pem", "-days", "2", "-subj", "/CN=localhost"]
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", *made]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as https:
        https.socket = context.wrap_socket(https.socket, server_side=True)
        https.handle_error = lambda *_: None
        threading.Thread(target=https.serve_forever, daemon=True).start()
        download_photos(write_urls({"1": f"https://localhost:{https.server_port}/x"}), tmp_path / "raw", OPTIONS)
        https.shutdown()
    assert rows(tmp_path / "raw")["1"][:3] == ("refused", "the server's certificate or TLS is not valid", 1)


def test_a_ledger_that_cannot_be_written_ends_the_run_with_its_name(server, write_urls, tmp_path, monkeypatch):
    from base_models.download.ledger import Ledger

    waiting = Ledger.waiting

    def full(self):
        self._connection.execute("PRAGMA query_only = ON")
        return waiting(self)

    monkeypatch.setattr(Ledger, "waiting", full)
    with pytest.raises(OSError, match=r"ledger\.sqlite must be writable: SQLite says attempt to write"):
        download_photos(write_urls({"1": server.url("photo/1")}), tmp_path / "raw", OPTIONS)


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs folder permissions")
def test_failures_are_read_from_a_folder_that_cannot_be_written(server, write_urls, tmp_path, monkeypatch):
    out = tmp_path / "raw"
    download_photos(write_urls({"1": server.url("status/404")}), out, OPTIONS)
    out.chmod(0o555)
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    assert read_failures(out) == {"1": "HTTP 404"}
    assert not list(out.glob("*-wal"))
    out.chmod(0o755)


def interrupt(*_):
    """Press Ctrl-C, as a terminal does."""
    os.kill(os.getpid(), signal.SIGINT)


ENDS = {
    "a full disk": (OSError(errno.ENOSPC, "no space left on device"), "_write_photo"),
    "a time limit": (TimeoutError("the time is over"), "_write_photo"),
    "a fault of the code": (AttributeError("nobody foresaw this"), "_write_photo"),
    "Ctrl-C": (KeyboardInterrupt(), interrupt),
    "Ctrl-C in the middle of a step": (KeyboardInterrupt(), None),
    "whoever watches": (ValueError("the bar is broken"), None),
}


@pytest.fixture
def heeds_interrupts():
    """Let Ctrl-C arrive: a process in the background, or one of pytest-xdist's, may have been told to ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("heeds_interrupts")
@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("afterwards", [None, OSError(errno.EIO, "the disk is gone")], ids=str)
def test_what_ends_a_download_comes_out_of_it(server, write_urls, tmp_path, monkeypatch, caplog, how, afterwards):
    """Also where neither the ledger nor the list of failures can be written any more, and nothing else is printed."""
    error, place = ENDS[how]

    def fail(*_):
        if afterwards is not None:
            monkeypatch.setattr(Ledger, "_commit", fail_afterwards)
            monkeypatch.setattr(Ledger, "write_failures", fail_afterwards)
        if place is interrupt:
            interrupt()
        else:
            raise error

    def fail_afterwards(*_):
        raise afterwards

    if place == "_write_photo":
        monkeypatch.setattr("base_models.download.download._write_photo", fail)
    annotations = write_urls({str(number): server.url(f"photo/{number}") for number in range(20)})
    with pytest.raises(type(error)) as caught:
        download_photos(annotations, tmp_path / "out", OPTIONS, progress=None if place == "_write_photo" else fail)
    assert type(caught.value) is type(error) and str(caught.value) == str(error)
    notes = getattr(caught.value, "__notes__", [])
    assert bool(notes) == (afterwards is not None) and all("the disk is gone" in note for note in notes)
    gc.collect()  # a task whose error nobody asked for is printed when it is collected
    assert not [record for record in caplog.records if record.name == "asyncio"]
    monkeypatch.undo()
    assert download_photos(annotations, tmp_path / "out", OPTIONS).counts["fetched"] == 20
