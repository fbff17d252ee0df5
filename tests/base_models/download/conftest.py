"""A server on the loopback interface that serves photos and every kind of trouble."""

import asyncio
import collections
import gzip
import io
import json
import threading
import time

import numpy as np
import pytest
from PIL import Image

web = pytest.importorskip("aiohttp.web")


def photo_bytes(seed, kind="JPEG", size=(40, 30)):
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1] // 10, size[0] // 10, 3), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).resize(size).save(file, kind)
    return file.getvalue()


class HostileServer:
    """Serve ``/photo/N`` well and every other path badly; count what was asked for."""

    def __init__(self):
        self.asked = collections.Counter()
        self.when = {}
        self.files = {}
        self.at_once = self.most_at_once = 0
        self.broken = True
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.ready = threading.Event()

    def start(self):
        self.thread.start()
        assert self.ready.wait(10)
        return self

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def url(self, path, host="127.0.0.1"):
        return f"http://{host}:{self.port}/{path}"

    def _run(self):
        asyncio.set_event_loop(self.loop)
        self.loop.run_until_complete(self._open())
        self.ready.set()
        self.loop.run_forever()
        self.loop.run_until_complete(self.runner.cleanup())
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel()
        self.loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        self.loop.close()

    async def _open(self):
        application = web.Application()
        application.router.add_get("/{path:.*}", self._count)
        self.runner = web.AppRunner(application, shutdown_timeout=0.1)
        await self.runner.setup()
        site = web.TCPSite(self.runner, "127.0.0.1", 0)  # "localhost" leads here too, and is a host of its own
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def _count(self, request):
        path = request.match_info["path"]
        self.asked[path] += 1
        self.when.setdefault(path, time.monotonic())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            return await self._answer(request, path)
        finally:
            self.at_once -= 1

    async def _answer(self, request, path):
        kind, _, rest = path.partition("/")
        if kind == "photo":
            return web.Response(body=photo_bytes(int(rest)), content_type="image/jpeg")
        return await getattr(self, f"_{kind.replace('-', '_')}")(request, rest)

    async def _status(self, request, rest):
        return web.Response(status=int(rest), text="no")

    async def _flaky(self, request, rest):
        """Fail once with the status, then serve."""
        if self.asked[request.match_info["path"]] == 1:
            return web.Response(status=int(rest), headers={"Retry-After": "0"} if rest == "429" else {})
        return web.Response(body=photo_bytes(901))

    async def _down(self, request, rest):
        """Fail until somebody mends the server."""
        return web.Response(status=503) if self.broken else web.Response(body=photo_bytes(9000 + int(rest)))

    async def _later(self, request, rest):
        return web.Response(status=429, headers={"Retry-After": rest})

    async def _once(self, request, rest):
        """Fail once with a status, then serve a photo of its own."""
        status, _, number = rest.partition("/")
        if self.asked[request.match_info["path"]] == 1:
            return web.Response(status=int(status))
        return web.Response(body=photo_bytes(int(number)))

    async def _file(self, request, rest):
        return web.Response(body=self.files[rest], content_type="image/png")

    async def _rest(self, request, rest):
        """Ask for a rest of a second once, then serve."""
        first = self.asked[request.match_info["path"]] == 1
        return web.Response(status=429, headers={"Retry-After": "1"}) if first else web.Response(body=photo_bytes(910))

    async def _to(self, request, rest):
        raise web.HTTPFound(request.query["url"])

    async def _moved(self, request, rest):
        raise web.HTTPMovedPermanently(f"/photo/{rest}")

    async def _loop(self, request, rest):
        raise web.HTTPFound("/loop/")

    async def _soon(self, request, rest):
        await asyncio.sleep(0.003)
        return web.Response(body=photo_bytes(int(rest)))

    async def _slow(self, request, rest):
        await asyncio.sleep(30)

    async def _drip(self, request, rest):
        response = web.StreamResponse()
        await response.prepare(request)
        for byte in photo_bytes(903):
            await response.write(bytes([byte]))
            await asyncio.sleep(0.1)
        return response

    async def _cut_in_transit(self, request, rest):
        """Announce more than is sent."""
        data = photo_bytes(904)
        response = web.StreamResponse(headers={"Content-Length": str(len(data))})
        await response.prepare(request)
        await response.write(data[: len(data) // 2])
        request.transport.close()
        return response

    async def _cut_at_source(self, request, rest):
        return web.Response(body=photo_bytes(905)[:-40], content_type="image/jpeg")

    async def _html(self, request, rest):
        return web.Response(text="<html>sorry</html>", content_type="image/jpeg")

    async def _empty(self, request, rest):
        return web.Response(body=b"", content_type="image/jpeg")

    async def _large(self, request, rest):
        return web.Response(body=photo_bytes(906) + b"\0" * 60_000)

    async def _endless(self, request, rest):
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for _ in range(1000):
            await response.write(photo_bytes(907) * 20)
        return response

    async def _encoded(self, request, rest):
        """Send a bomb: a megabyte of zeros in a kilobyte, once or twice compressed."""
        body = gzip.compress(b"\0" * 2**20)
        return web.Response(body=body, headers={"Content-Encoding": rest.replace("+", ", ")})

    async def _robots(self, request, rest):
        return web.Response(body=photo_bytes(908), headers={"X-Robots-Tag": request.query["tag"]})

    async def _agent(self, request, rest):
        self.agent = request.headers["User-Agent"]
        return web.Response(body=photo_bytes(909))

    async def _raw(self, request, rest):
        """Send bytes that are no HTTP, or headers without end."""
        starts = {"lies": b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n", "headers": b"HTTP/1.1 200 OK\r\n"}
        request.transport.write(starts.get(rest, b"SSH-2.0\r\n"))
        if rest == "headers":
            for number in range(100):
                request.transport.write(f"X-{number}: 1\r\n".encode())
                await asyncio.sleep(0.1)
        request.transport.close()
        return web.Response()


@pytest.fixture
def server():
    running = HostileServer().start()
    yield running
    running.stop()


@pytest.fixture
def write_urls(tmp_path):
    """Write contest JSON for urls by id."""

    def write(urls, name="train.json", key="imageId"):
        path = tmp_path / name
        path.write_text(json.dumps({"images": [{key: photo_id, "url": url} for photo_id, url in urls.items()]}))
        return path

    return write
