"""The commands `data synthesize`, `data download`, `data ingest`, `data pack-photos` and `data describe`."""

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from experiments.cli.options import Console, OutFolder, Overwrite, Seed, check_out_folder, free_name, is_there

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from base_models.download import DownloadEstimate, DownloadReport
    from base_models.ingest import IngestReport
    from base_models.manifest import PhotoSource
    from stacking.files.output_folder import OutputFolder


def synthesize(
    console: Console,
    out: Annotated[Path, typer.Option(help="Folder for photos and annotations.")],
    n_train: Annotated[int, typer.Option(help="Training photos.")] = 3000,
    n_validation: Annotated[int, typer.Option(help="Validation photos.")] = 600,
    n_test: Annotated[int, typer.Option(help="Test photos.")] = 1000,
    size: Annotated[int, typer.Option(help="Side of the photos in pixels.")] = 64,
    seed: Seed = 0,
) -> None:
    """Draw FashionBlocks, a data set of garments, in the form of the iMaterialist contest."""
    with console.session() as show:
        from experiments.fashionblocks import synthesize as draw

        with show.progress("drawing photos") as progress:
            draw(
                out,
                n_train=n_train,
                n_validation=n_validation,
                n_test=n_test,
                size=size,
                random_state=seed,
                progress=progress,
            )
        show.result(f"{n_train + n_validation + n_test:,} photos: {out}")
        show.next("init", out / "photos", out / "train.json", "--out", free_name("recipe.toml"))


def download(
    console: Console,
    annotations: Annotated[Path, typer.Argument(help="iMaterialist JSON: images with an id and a url.")],
    out: Annotated[Path, typer.Option(help="Folder for photos and ledger; the same command resumes.")],
    connections: Annotated[int, typer.Option(help="Connections at once.")] = 32,
    per_host: Annotated[int, typer.Option(help="Connections at once to one host.")] = 8,
    attempts: Annotated[int, typer.Option(help="Tries per photo where the failure may pass.")] = 4,
    timeout: Annotated[float, typer.Option(help="Seconds for one request as a whole.")] = 30.0,
    first_wait: Annotated[float, typer.Option(help="Seconds before the second try; doubled for each further.")] = 1.0,
    max_photo_mb: Annotated[float, typer.Option(help="Megabytes; larger photos are refused.")] = 20.0,
    max_total_gb: Annotated[float | None, typer.Option(help="Gigabytes; end before photos exceed this.")] = None,
    time_limit: Annotated[float | None, typer.Option(help="Seconds after which the run ends.")] = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also try again what failed for a reason that may have passed.")
    ] = False,
    allow_private: Annotated[
        bool, typer.Option("--allow-private", help="Also fetch from private addresses: for servers of your own.")
    ] = False,
    ignore_noai: Annotated[
        bool, typer.Option("--ignore-noai", help="Also take photos whose host sends X-Robots-Tag: noai.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Estimate the disk needed; fetch nothing.")] = False,
) -> None:
    """Fetch the photos of an annotation file; keep a ledger of what became of each."""
    with console.session() as show:
        from base_models.download import DownloadOptions, download_photos, estimate_download

        options = DownloadOptions(
            connections=connections,
            per_host=per_host,
            attempts=attempts,
            timeout=timeout,
            first_wait=first_wait,
            max_photo_bytes=round(max_photo_mb * 1e6),
            max_total_bytes=None if max_total_gb is None else round(max_total_gb * 1e9),
            time_limit=time_limit,
            allow_private=allow_private,
            heed_noai=not ignore_noai,
            retry_failed=retry_failed,
        )
        if dry_run:
            show.result(_estimate_line(estimate_download(annotations, out, options)))
            show.next("data", "download", annotations, "--out", out)
            return
        with show.progress("fetching photos") as progress:
            report = download_photos(annotations, out, options, progress=progress)
        for line in _download_lines(report, out):
            show.result(line)
        show.next("data", "ingest", out, "--annotations", annotations, "--out", free_name("photos"))


def ingest(
    console: Console,
    folder: Annotated[Path, typer.Argument(help="Folder of photos, as a download leaves it or any other.")],
    out: Annotated[Path, typer.Option(help="Folder for the clean photos; the same command resumes.")],
    annotations: Annotated[
        Path | None,
        typer.Option(help="Their labels, as `labelstack init` takes them; a copy for the photos kept is written."),
    ] = None,
    size: Annotated[int, typer.Option(help="Longest side in pixels.")] = 299,
    shape: Annotated[
        str, typer.Option(help="letterbox (a square with white bars) or keep (proportions).")
    ] = "letterbox",
    quality: Annotated[int, typer.Option(help="JPEG quality.")] = 85,
    min_side: Annotated[int, typer.Option(help="Leave out photos with a shorter side, in pixels.")] = 16,
    keep_near_duplicates: Annotated[
        bool, typer.Option("--keep-near-duplicates", help="Leave out exact copies only, not resized ones.")
    ] = False,
    workers: Annotated[int | None, typer.Option(help="Processes that decode; by default one per CPU.")] = None,
    memory_mb: Annotated[int, typer.Option(help="Megabytes that one process may allocate.")] = 1024,
    seconds: Annotated[float, typer.Option(help="Seconds that one photo may take.")] = 20.0,
    id_column: Annotated[str, typer.Option(help="Column or field of the photo's id or file name.")] = "image",
    labels_column: Annotated[str, typer.Option(help="Column or field of the labels.")] = "labels",
) -> None:
    """Decode every photo once in limited processes; write clean JPEG files and the annotations of those kept."""
    with console.session() as show:
        from base_models.ingest import IngestOptions, ingest_photos
        from stacking.process.processors import usable_processors

        options = IngestOptions(
            size=size,
            shape=shape,  # type: ignore[arg-type]  # checked there
            quality=quality,
            min_side=min_side,
            drop_near_duplicates=not keep_near_duplicates,
            workers=usable_processors() if workers is None else workers,
            memory_bytes=memory_mb * 2**20,
            seconds=seconds,
            id_column=id_column,
            labels_column=labels_column,
        )
        with show.progress("decoding photos") as progress:
            report = ingest_photos(folder, out, annotations, options, progress=progress)
        for line in _ingest_lines(report, out):
            show.result(line)
        show.next("init", out / "photos", report.annotations or "LABELS.csv", "--out", free_name("recipe.toml"))


def _ingest_lines(report: "IngestReport", out: Path) -> list[str]:
    """Say what became of an ingest."""
    counts = report.counts
    lines = [
        f"{counts['kept']:,} of {sum(counts.values()):,} photos kept, {report.n_decoded:,} decoded now in "
        f"{report.seconds:.1f} s: {out / 'photos'}",
        f"{counts['duplicate']:,} duplicates, {counts['blank']:,} blank, {counts['failed']:,} failed, "
        f"{counts['missing']:,} missing: {out / 'ledger.csv'}",
    ]
    lines += [f"  {count:,} × {reason}" for reason, count in list(report.reasons.items())[:10]]
    if report.annotations is not None:
        lines.append(f"annotations of the kept photos: {report.annotations}")
    return lines


def pack_photos(
    console: Console,
    photos: Annotated[
        list[Path],
        typer.Argument(help="Folders of photos or of tar shards, or recipes (TOML), whose photos and sizes are taken."),
    ],
    out: Annotated[Path, typer.Option(help="Folder or URL of packs, new or an earlier one; the same command resumes.")],
    size: Annotated[
        list[int] | None, typer.Option(help="Side of the squares in pixels; once per size. A recipe has sizes itself.")
    ] = None,
    workers: Annotated[int, typer.Option(help="Processes that decode; -1 starts one per processor.", min=-1)] = -1,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how much disk it takes; decode nothing.")] = False,
) -> None:
    """Decode photos once for all that train on them or score them: squares of pixels that are mapped into memory."""
    with console.session() as show:
        import shutil

        from base_models.packed.packing import PackOptions
        from base_models.packed.packing import pack_photos as pack
        from base_models.packed.photo_pack import PACKS
        from base_models.packed.remote_packs import mirror_of
        from stacking.files.output_rules import check_work_folder, url_of
        from stacking.files.remote import path_of

        remote = path_of(out) is None
        own = mirror_of(str(url_of(out))) if remote else path_of(out) or out
        check_out_folder(own)
        check_work_folder(own, PACKS, inputs=photos)
        lists = [_photos_to_pack(path, size) for path in photos]
        n_bytes = sum(3 * side * side * len(ids) for ids, _, sizes in lists for side in sizes)
        there = next(parent for parent in (own, *own.absolute().parents) if parent.exists())
        n_photos, free = sum(len(ids) for ids, _, _ in lists), shutil.disk_usage(there).free
        show.result(f"{n_photos:,} photos: {n_bytes / 1e9:.2f} GB needed, {free / 1e9:.2f} GB free")
        if dry_run:
            return
        for ids, source, sizes in lists:
            with show.progress("decoding photos") as progress:
                count = partial(_tell_share, progress, len(ids))
                packed = pack(ids, source, sizes, out, PackOptions(workers, waits=False), on_photos=count)
            failures = packed[sizes[0]].failures
            shown = ", ".join(map(str, sizes))
            show.result(
                f"{len(ids) - len(failures):,} photos at {shown} pixels, {len(failures):,} cannot be read: {out}"
            )
            for reason in list(failures.values())[:10]:
                show.result(f"  {reason}")
        place = url_of(out) if remote else str(own.absolute())
        show.note(f"to train on them, say in the recipe: photos_folder = {json.dumps(place)}")


def _photos_to_pack(path: Path, given: list[int] | None) -> "tuple[NDArray[np.str_], PhotoSource, list[int]]":
    """Return the names, files and sizes of a folder of photos or of a recipe."""
    from base_models.manifest import load_manifest, load_photo_folder
    from experiments.recipe import load_recipe

    if path.suffix.lower() != ".toml":
        if not given:
            raise ValueError(f"--size must say how large the photos of {str(path)!r} are to be: got none; add it.")
        return *load_photo_folder(path), sorted(set(given))
    run = load_recipe(path)
    sizes = sorted(set(given or [member.size for member in run.members if member.features == "live"]))
    if not sizes:
        raise ValueError(f"--size must be given: no member of {str(path)!r} sees photos in every epoch; add it.")
    manifest = load_manifest(run.data, path.resolve().parent)
    return manifest.ids, manifest.photos, sizes


def _tell_share(progress: "Callable[..., None] | None", n_photos: int, n_done: int) -> None:
    """Report decoded photos."""
    if progress is not None:
        progress(n_done, n_photos)


def _estimate_line(estimate: "DownloadEstimate") -> str:
    """Say what a download will need."""
    basis = "mean of those fetched" if estimate.measured else "assumed"
    return (
        f"{estimate.n_waiting:,} of {estimate.n_photos:,} photos to fetch × {estimate.bytes_per_photo / 1e3:.0f} kB "
        f"({basis}): {estimate.bytes_needed / 1e9:.2f} GB needed, {estimate.bytes_free / 1e9:.2f} GB free"
    )


def _download_lines(report: "DownloadReport", out: Path) -> list[str]:
    """Say what became of a download."""
    counts = report.counts
    lines = [
        f"{counts['fetched']:,} of {sum(counts.values()):,} photos ({report.n_bytes / 1e6:,.1f} MB), "
        f"{report.n_fetched:,} of them now in {report.seconds:.1f} s: {out / 'photos'}"
    ]
    if failed := counts["refused"] + counts["unreachable"]:
        lines.append(
            f"{failed:,} failed, {counts['unreachable']:,} of them for a reason that may pass (--retry-failed): "
            f"{out / 'failures.csv'}"
        )
        lines += [f"  {count:,} × {reason}" for reason, count in list(report.reasons.items())[:10]]
    if counts["waiting"]:
        lines.append(f"{counts['waiting']:,} wait, because of the {report.stopped}: the same command goes on")
    return lines


def describe(
    console: Console,
    recipe: Annotated[Path, typer.Argument(help="TOML file with a [data] table; the rest of a recipe is not read.")],
    out: OutFolder,
    label: Annotated[str | None, typer.Option(help="Show photos of this label; else of the most frequent.")] = None,
    n_sample: Annotated[int, typer.Option(help="Photos opened for sizes and pixel values.", min=1)] = 1000,
    table: Annotated[
        bool, typer.Option("--table", help="Also write photos.csv: image, labels, split, group; recipes read it.")
    ] = False,
    label_files: Annotated[
        bool, typer.Option("--label-files", help="Also write labels/PHOTO.txt, one label a line, for every photo.")
    ] = False,
    overwrite: Overwrite = False,
    seed: Seed = 0,
) -> None:
    """Describe a data set: counts, labels, pairs, photos, sizes, pixel values, shift between splits."""
    with console.session() as show:
        from base_models.manifest import load_manifest
        from base_models.recipe.data import DataConfig
        from experiments.labeling.data_table import LABEL_FILES, TABLE, write_data_table, write_label_files
        from experiments.recipe import build, read_toml
        from experiments.reports.describing import describe_data, hash_data, write_description
        from experiments.reports.result_manifest import build_manifest, result_folder

        check_out_folder(out)
        given = read_toml(recipe).get("data")
        if not isinstance(given, dict):
            raise ValueError(f"the recipe {str(recipe)!r} must hold a [data] table: it has none; add one.")
        manifest = load_manifest(build(DataConfig, given, recipe, inside="data"), recipe.resolve().parent)
        options = {"recipe": given, "label": label, "n_sample": n_sample, "random_state": seed}
        options |= {"table": True} if table else {}
        options |= {"label_files": True} if label_files else {}
        request = build_manifest("data describe", {"data": hash_data(manifest)}, options)
        show.next("train", recipe, "--out", free_name("run"))
        with result_folder(out, "data describe", overwrite=overwrite, inputs=[recipe], request=request) as output:
            if is_there(output, show):
                return
            report = describe_data(manifest, n_sample=n_sample, label=label, random_state=seed)

            def write_more(output: "OutputFolder") -> None:
                if table:
                    write_data_table(manifest, output)
                if label_files:
                    write_label_files(manifest, output)

            write_description(report, output, options, also=write_more)
        if table:
            show.result(f"table: {out / TABLE}")
        if label_files:
            show.result(f"labels: {out / LABEL_FILES}")
        show.result(f"report: {out / 'report.html'}")
