"""The command `serve`."""

from pathlib import Path
from typing import Annotated

import typer

from experiments.cli.options import JsonConsole

MIB = 2**20


def serve(
    console: JsonConsole,
    ensemble: Annotated[Path, typer.Argument(help="Folder that `labelstack fit` wrote.")],
    run: Annotated[
        Path | None, typer.Option(help="Run folder whose networks score photos that are sent; without it, scores only.")
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address to serve at; 0.0.0.0 lets every machine that reaches this one ask.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to serve at; 0 takes any that is free.", min=0, max=65535)] = 8000,
    thresholds: Annotated[Path | None, typer.Option(help="Decide by this thresholds file, as `predict` does.")] = None,
    device: Annotated[str, typer.Option(help="For --run: auto, cpu or cuda.")] = "auto",
    threads: Annotated[int, typer.Option(help="Requests with scores that are computed at a time.", min=1)] = 1,
    max_mib: Annotated[int, typer.Option(help="Most MiB of a request.", min=1)] = 16,
    max_rows: Annotated[int, typer.Option(help="Most samples of a request with scores.", min=1)] = 1000,
    max_photos: Annotated[int, typer.Option(help="Most photos of a request.", min=1)] = 32,
    max_waiting: Annotated[
        int, typer.Option(help="Requests that may be inside at a time; further ones are told to ask again.", min=1)
    ] = 64,
    body_seconds: Annotated[float, typer.Option(help="Seconds in which a request must arrive.", min=0.1)] = 30.0,
    answer_seconds: Annotated[float, typer.Option(help="Seconds that a request may wait and compute.", min=0.1)] = 60.0,
) -> None:
    """Serve a saved ensemble over HTTP: scores or photos in, labels out."""
    with console.session() as show:
        from experiments.serving.limits import ServingLimits
        from experiments.serving.served import open_served
        from experiments.serving.server import address_of, open_socket
        from experiments.serving.server import serve as run_server

        limits = ServingLimits(max_mib * MIB, max_rows, max_photos, max_waiting, body_seconds, answer_seconds)
        opened = open_socket(host, port)
        with opened:
            served = open_served(ensemble, limits, run=run, device=device, thresholds=thresholds)
            where = address_of(opened)

            def started() -> None:
                show.result(f"serving {ensemble} at {where}; Ctrl+C stops")
                show.data({"url": where, "ensemble": ensemble, "run": run, "takes": served.takes})
                if not where.startswith(("http://127.", "http://[::1]")):
                    show.note("whoever reaches this address may ask: put a server with TLS and passwords before it")

            run_server(served, opened, threads=threads, on_start=started)
        show.note("stopped; all requests that were inside are answered")
