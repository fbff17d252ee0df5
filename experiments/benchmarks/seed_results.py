"""Write ``experiments/results/seeds/NNN.{md,json}`` and their pictures from a run of a seed's recipe and its report.

``python -m experiments.benchmarks.seed_results 000 RUN REPORT --about "what was run"`` keeps the tables and charts of
the report and puts the seed's own numbers beside them. Photos stay out where they are not ours to publish: what the
seeds showed of photos is shown of FashionBlocks (``--maps`` of ``labelstack explain``, ``--photos`` of ``data
synthesize``); ``--description`` and ``--rates`` add the charts of the data and of a learning-rate range test.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.benchmarks.picture_sheets import histogram_sheet, map_sheet, photo_sheet
from experiments.reports.models_section import member_cost
from stacking.files.atomic_files import atomic_write_bytes, atomic_write_text
from stacking.report.writing import write_score

RESULTS = Path(__file__).parents[1] / "results" / "seeds"
SECTIONS = (
    "Members and ensembles side by side",
    "Validation and test",
    "Thresholds, rule by rule",
    "Frequent and rare labels",
    "Learning curves",
)
CHARTS = ("Where the gain comes from", "Weights", "Labels", "Learning curves")  # sections whose charts are kept
DATA_CHARTS = ("Counts", "Labels", "Labels that occur together", "Sizes and pixel values")
MOST_CHARTS = 3  # of a section
OWN_NUMBERS: dict[str, dict[str, str]] = {
    "000": {"attention-based network": "none reported: a proposal"},
    "001": {"small network from scratch": ".06", "ResNet-34, transfer": "about .60 (micro-F1)"},
    "002": {
        "Deep (fixed)": ".511 validation, .512 test",
        "Deep (half)": ".520, .516",
        "Deep (tuned)": ".610, .609",
        "+ Wide + Recurrent": ".620, .616",
        "+ sampling and thresholds": ".648, .643",
        "Ensemble": ".661, .656",
    },
    "003": {
        "10,000 photos of 40 × 40 pixels": ".34",
        "1,000,000 photos of 299 × 299 pixels": ".36",
        "a constant answer (ours, on the contest's validation labels)": ".38",
    },
    "004": {
        "MobileNet": ".21",
        "InceptionV3": ".35",
        "Xception at 224 / 299 pixels": ".38 / .41",
        "ResNet50": ".38",
        "precomputed features → MLP": ".504",
        "mean / harmonic mean / PSO": ".47 / .41 / .506",
    },
}
"""What the seeds report themselves, on the contest's 228 labels and a million photos."""
_CHART = re.compile(r"!\[([^\]]*)\]\((charts/[^)]+)\)")
KEPT = ("method", "kind", "score", "low", "high", "macro_f1", "rule", "never_predicted", "cpu_seconds")


@dataclass(frozen=True)
class SeedPictures:
    """Where the pictures of a seed come from, beside its report.

    Attributes
    ----------
    description : Path, optional
        What `labelstack data describe` wrote of the photos that were trained on: its charts are kept.
    rates : Path, optional
        What `labelstack learning-rate` wrote of the recipe.
    ablation : Path, optional
        What `labelstack ablation` wrote of the run: a curve over training-set sizes, if its members differ in them.
    maps : Path, optional
        What `labelstack explain` wrote of photos that may be shown.
    photos : Path, optional
        A data set that may be shown, as `labelstack data synthesize` wrote it: photos with labels and histograms.
    label : str, default=""
        Show photos of this label instead.
    """

    description: Path | None = None
    rates: Path | None = None
    ablation: Path | None = None
    maps: Path | None = None
    photos: Path | None = None
    label: str = ""


def write_seed_results(
    seed: str,
    run: Path,
    report: Path,
    about: str,
    out: Path = RESULTS,
    *,
    comparison: Path | None = None,
    pictures: SeedPictures | None = None,
) -> Path:
    """Write the results of a seed.

    Parameters
    ----------
    seed : str
        "000" to "004".
    run : Path
        A finished run folder.
    report : Path
        What `labelstack report` made of it.
    about : str
        Which photos, networks and machine.
    out : Path
        Folder for both files.
    comparison : Path, optional
        What `labelstack compare` made of the same run by another metric; its leaderboard is added.
    pictures : SeedPictures, optional
        Further pictures.

    Returns
    -------
    Path
        The Markdown file.
    """
    board = json.loads((report / "leaderboard.json").read_text(encoding="utf-8"))
    rows = [{key: row[key] for key in KEPT} for row in board["rows"]]
    costs = {place.name: member_cost(place) for place in sorted((run / "members").glob("*")) if place.is_dir()}
    found = {"seed": seed, "about": about, "constant_answer": board["constant_answer"], "rows": rows, "members": costs}
    lines = [f"# Seed {seed}", "", about, "", *_own_numbers(seed), "", *_scores(rows, costs, board["constant_answer"])]
    text = (report / "report.md").read_text(encoding="utf-8")
    for title in SECTIONS:
        lines += ["", f"## {title}", "", *_section(text, title)]
    if comparison is not None:
        other = (comparison / "report.md").read_text(encoding="utf-8")
        table = [line for line in _section(other, "Leaderboard") if line.startswith("|")]
        columns = table[0].strip("| ").split(" | ")
        lines += ["", f"## Fitted for and ranked by {columns[1]}", "", *table[: _end_of_table(table)]]
    ablation = None if pictures is None else pictures.ablation
    if ablation is not None:
        rows_of_it = _section((ablation / "ablation.md").read_text(encoding="utf-8"), "Rows")
        lines += ["", "## Member by member", "", *rows_of_it]
    out.mkdir(parents=True, exist_ok=True)
    lines += _pictures(seed, report, pictures or SeedPictures(), out)
    atomic_write_text(out / f"{seed}.json", json.dumps(found, indent=1) + "\n")
    atomic_write_text(out / f"{seed}.md", "\n".join(lines).rstrip() + "\n")
    return out / f"{seed}.md"


def _own_numbers(seed: str) -> list[str]:
    """Lay out what the seed reported."""
    rows = [f"| {what} | {score} |" for what, score in OWN_NUMBERS[seed].items()]
    head = "The seed's own numbers, on the contest's photos and labels; no number below is on the same data:"
    return [head, "", "| system | F1 |", "|---|---|", *rows]


def _scores(rows: Sequence[dict[str, Any]], costs: dict[str, dict[str, float]], constant: float) -> list[str]:
    """Lay out members and ensembles, best first."""
    lines = [
        f"## Scores\n\nOn the test split, which tuned nothing; a constant answer scores {write_score(constant)}.\n",
        "| model | kind | micro-F1 [95 %] | macro-F1 | never predicted | parameters | trained | photos | seconds |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cost = costs.get(row["method"], {}) if row["kind"] == "member" else {}
        sizes = [f"{cost[key]:,.0f}" if key in cost else "" for key in ("parameters", "trained", "photos", "seconds")]
        score = f"{write_score(row['score'])} [{write_score(row['low'])}, {write_score(row['high'])}]"
        cells = [row["method"], row["kind"], score, write_score(row["macro_f1"]), str(row["never_predicted"]), *sizes]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _pictures(seed: str, report: Path, further: SeedPictures, out: Path) -> list[str]:
    """Copy or draw the pictures into ``OUT/pictures/NNN``, and return the lines that show them."""
    folder = out / "pictures" / seed
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["", "## Pictures"]

    def show(name: str, alt: str, content: bytes) -> None:
        atomic_write_bytes(folder / name, content)
        lines.extend(["", f"![{alt}](pictures/{seed}/{name})"])

    sources = {
        "run": (report, CHARTS),
        "data": (further.description, DATA_CHARTS),
        "rates": (further.rates, None),
        "ablation": (further.ablation, None),
    }
    for kind, (source, chosen) in sources.items():
        for alt, chart in [] if source is None else _charts(source, chosen):
            show(f"{kind}-{chart.stem.removeprefix('chart-')}.svg", alt, chart.read_bytes())
    if further.photos is not None and further.label:
        lines += ["", f"Photos of FashionBlocks with the label {further.label}:"]
        show("label.png", f"Photos of {further.label}", photo_sheet(further.photos, further.label))
    elif further.photos is not None:
        lines += ["", "Photos of FashionBlocks, with labels, then above their histograms (gray, three colors):"]
        show("photos.png", "Photos with their labels", photo_sheet(further.photos))
        show("histograms.png", "Photos with their histograms", histogram_sheet(further.photos))
    if further.maps is not None:
        lines += ["", "Where a member sees a label, on photos of FashionBlocks:"]
        show("maps.png", "Maps of labels", map_sheet(further.maps))
    return lines


def _charts(source: Path, sections: Sequence[str] | None) -> list[tuple[str, Path]]:
    """Return what charts of a report show, and their files."""
    found = []
    (page,) = source.glob("*.md")
    for part in f"\n{page.read_text(encoding='utf-8')}".split("\n## ")[1:]:
        if sections is None or part.partition("\n")[0] in sections:
            found += _CHART.findall(part)[:MOST_CHARTS]
    return [(alt, source / path) for alt, path in found]


def _section(text: str, title: str) -> list[str]:
    """Take a section out of a report, without its charts and what is said of them."""
    _, _, rest = text.partition(f"\n## {title}")
    body = rest.partition("\n## ")[0].partition("\n")[2]
    blocks = [block.strip() for block in body.split("\n\n") if block.strip()]
    kept = [
        block
        for place, block in enumerate(blocks)
        if not block.startswith("![") and not (place and blocks[place - 1].startswith("!["))
    ]
    return "\n\n".join(kept).split("\n")


def _end_of_table(lines: Sequence[str]) -> int:
    """Return where the first table ends: each has a second line of dashes."""
    rules = [place for place, line in enumerate(lines) if line.startswith("|:") or line.startswith("|-")]
    return rules[1] - 1 if len(rules) > 1 else len(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and write the files.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.
    """
    parser = argparse.ArgumentParser(prog="python -m experiments.benchmarks.seed_results", description=__doc__)
    parser.add_argument("seed", choices=list(OWN_NUMBERS))
    parser.add_argument("run", type=Path)
    parser.add_argument("report", type=Path)
    parser.add_argument("--about", required=True, help="which photos, networks and machine")
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--comparison", type=Path, help="a comparison of the same run by another metric")
    for name in ("description", "rates", "ablation", "maps", "photos"):
        parser.add_argument(f"--{name}", type=Path, help=f"further pictures, see SeedPictures.{name}")
    parser.add_argument("--label", default="", help="show photos of this label instead")
    given = parser.parse_args(arguments)
    pictures = SeedPictures(given.description, given.rates, given.ablation, given.maps, given.photos, given.label)
    written = write_seed_results(
        given.seed, given.run, given.report, given.about, given.out, comparison=given.comparison, pictures=pictures
    )
    print(written)  # noqa: T201


if __name__ == "__main__":
    main()
