"""The child process that touches strangers' bytes: limited in memory and time, and no loss if it dies.

It reads one JSON line per photo from its standard input and answers with one JSON line, so that nothing a decoder in
trouble writes can harm the parent, which also writes the files. ``python -m base_models.ingest.decoder`` is started by
:class:`base_models.ingest.decoder_pool.DecoderPool`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import os
import sys
import time
from pathlib import Path
from typing import Any

from base_models.ingest.clean_photo import BlankPhotoError, clean_photo, read_source
from base_models.ingest.options import IngestOptions
from base_models.photos.decoding import UnreadablePhotoError


def main() -> None:
    """Answer requests until the input ends."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what a library prints is no answer
    requests = sys.stdin.buffer
    options = IngestOptions(**json.loads(requests.readline()))
    _limit_memory(options.memory_bytes)
    for line in requests:
        _limit_cpu(options.seconds)
        try:
            answer = _answer(json.loads(line), options)
        except MemoryError:
            answer = {"status": "failed", "reason": f"needs more than {options.memory_bytes / 2**20:.0f} MiB of memory"}
        except Exception as error:  # one photo never ends the run; its reason is kept
            answer = {"status": "failed", "reason": f"cannot be brought into form ({type(error).__name__}: {error})"}
        answers.write(json.dumps(answer).encode() + b"\n")


def _answer(request: dict[str, str], options: IngestOptions) -> dict[str, Any]:
    """Clean one photo; say what became of it."""
    try:
        data = read_source(Path(request["source"]))
    except OSError as error:
        return {"status": "failed", "reason": f"the file cannot be read ({error.strerror})"}
    digest = hashlib.sha256(data).hexdigest()
    try:
        photo = clean_photo(data, options)
    except UnreadablePhotoError as error:
        status = "blank" if isinstance(error, BlankPhotoError) else "failed"
        return {"status": status, "reason": str(error).removeprefix("photo: "), "source_sha256": digest}
    return {
        "status": "clean",
        "source_sha256": digest,
        "reason": "",
        "width": photo.width,
        "height": photo.height,
        "jpeg": base64.b64encode(photo.jpeg).decode(),
        "sha256": photo.sha256,
        "thumbnail": base64.b64encode(photo.thumbnail).decode(),
    }


def _limit_memory(n_bytes: int) -> None:
    """Let this process allocate so much more than it has; no core file if it dies."""
    try:
        import resource
    except ImportError:  # not a POSIX system: the parent's time limit is left
        return
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        used = pages * resource.getpagesize()
    except (OSError, ValueError):
        used = 2**30
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = used + n_bytes
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard < 0 else min(wanted, hard), hard))


def _limit_cpu(seconds: float) -> None:
    """Let the system end this process if the next photo takes too long."""
    try:
        import resource
    except ImportError:
        return
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    wanted = math.ceil(time.process_time() + seconds)
    resource.setrlimit(resource.RLIMIT_CPU, (wanted if hard < 0 else min(wanted, hard), hard))


if __name__ == "__main__":
    main()
