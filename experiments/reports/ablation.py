"""What each change of a recipe brings: the members of one run, held against one of them.

An ablation is a recipe whose members differ from a baseline member in one setting each. They share photos, folds and
the held-out split, so every difference in micro-F1 is paired, sample by sample. Thresholds are tuned on the run's
out-of-fold rows; the rows that are scored tuned nothing. One training per row says nothing about the luck of a seed:
a member that repeats the baseline under another name shows how large that is.
"""

import csv
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from stacking.files.untrusted import read_json
from stacking.metrics import recall_at_k

if TYPE_CHECKING:
    from stacking.comparison import Comparison
    from stacking.files.output_folder import OutputFolder
    from stacking.predictions import PredictionSet
    from stacking.report import Report, Section

REQUIRED = ("oof", "test")
REQUIRED_FILES = ("manifest.json", *(f"{name}/index.json" for name in REQUIRED))
INTRODUCTION = (
    "Each row is one member of the run; its recipe is that of the baseline but for what the second column says. "
    "Scores are micro-F1 on the test split, which tuned nothing, with 95 % bootstrap limits; differences are paired. "
    "Recall in a tenth: how many of the true labels are among the tenth of the labels that scores highest, whatever "
    "the thresholds."
)


@dataclass(frozen=True)
class AblationRow:
    """One member beside the baseline.

    Attributes
    ----------
    member : str
        Its name.
    change : str
        How its recipe differs from the baseline's.
    score, low, high : float
        Held-out micro-F1 with 95 % limits.
    gain, gain_low, gain_high : float
        Paired difference to the baseline.
    macro_f1 : float
        Held-out macro-F1.
    never_predicted : int
        Labels with positives that it never predicts.
    recall_at_tenth : float
        Share of the true labels that are among the tenth of the labels that scores highest; no threshold takes part.
    n_parameters : int
        Of the network, or of all that the member is made of.
    cpu_seconds : float
        For training and scoring, all folds.
    n_photos : int
        Training photos of one fold.
    photos_seen : int
        Photos that went through in training, over all epochs and folds.
    recipe : dict
        Its settings as the run recorded them, defaults left out.
    """

    member: str
    change: str
    score: float
    low: float
    high: float
    gain: float
    gain_low: float
    gain_high: float
    macro_f1: float
    never_predicted: int
    recall_at_tenth: float
    n_parameters: int
    cpu_seconds: float
    n_photos: int
    photos_seen: int
    recipe: dict[str, Any]


@dataclass(frozen=True)
class Ablation:
    """The members of a run beside one of them.

    Attributes
    ----------
    run : str
        Name of the recipe.
    baseline : str
        The member that the others are held against.
    rows : tuple of AblationRow
        In the recipe's order.
    constant_answer : float
        Micro-F1 of the best answer that looks at no photo.
    manifest : dict
        Of the comparison: inputs, protocol, versions, seed.
    """

    run: str
    baseline: str
    rows: tuple[AblationRow, ...]
    constant_answer: float
    manifest: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """Put everything into the form of ``ablation.json``.

        Returns
        -------
        dict
            JSON-able.
        """
        return {"metric": "micro_f1", **asdict(self)}


def measure_ablation(run: str | Path, baseline: str) -> Ablation:
    """Hold every member of a finished run against one of them.

    Parameters
    ----------
    run : str or Path
        A run folder whose data has a test split.
    baseline : str
        Name of a member.

    Returns
    -------
    Ablation
        One row per member.

    Raises
    ------
    ValueError
        If the run is not finished or has no test split, or the baseline is none of its members.
    """
    from stacking.comparison import compare
    from stacking.predictions import load_predictions

    run = Path(run)
    _check_run(run)
    recorded = read_json(run / "manifest.json", f"the run folder's {run / 'manifest.json'}")
    recipe = recorded["recipe"]
    recipes = {member["name"]: member for member in (*recipe["members"], *recipe.get("derived", ()))}
    fitting, held_out = load_predictions(run / "oof"), load_predictions(run / "test")
    if baseline not in fitting.models:
        raise ValueError(f"baseline must be a member of the run: got {baseline!r}; it has {', '.join(fitting.models)}.")
    found = compare(fitting, [], holdout=held_out)
    recall = _recall_at_tenth(held_out)
    changes = {name: _describe_change(member, recipes[baseline]) for name, member in recipes.items()}
    rows = tuple(
        AblationRow(
            member=name,
            change=changes[name],
            **_scores(found, name, baseline),
            recall_at_tenth=recall[name],
            **_cost(member, run),
            recipe=member,
        )
        for name, member in recipes.items()
        if name in fitting.models
    )
    return Ablation(recipe["name"], baseline, rows, found.constant_answer, found.manifest)


def ablation_report(ablation: Ablation) -> "Report":
    """Lay an ablation out as a report.

    Parameters
    ----------
    ablation : Ablation
        What was measured.

    Returns
    -------
    Report
        A table, and the recipe of every row.
    """
    from stacking.report import Code, Column, Paragraph, Report, Section, Table, columns_of
    from stacking.report.writing import write_interval, write_score

    columns = [
        *columns_of("text", "member", "change"),
        Column("micro-F1", "score"),
        Column("95 % limits", "interval"),
        Column("to the baseline", "gain"),
        Column("95 % limits", "interval"),
        Column("macro-F1", "score"),
        Column("never predicted", "count"),
        Column("recall in a tenth", "score"),
        *columns_of("count", "parameters", "photos seen"),
        Column("CPU time", "seconds"),
    ]
    lines = [
        (
            row.member,
            row.change,
            row.score,
            write_interval(row.low, row.high),
            None if row.member == ablation.baseline else row.gain,
            "" if row.member == ablation.baseline else write_interval(row.gain_low, row.gain_high, signed=True),
            row.macro_f1,
            row.never_predicted,
            row.recall_at_tenth,
            row.n_parameters,
            row.photos_seen,
            row.cpu_seconds,
        )
        for row in ablation.rows
    ]
    strong = [number for number, row in enumerate(ablation.rows) if row.member == ablation.baseline]
    recipes = [Code(json.dumps(row.recipe, indent=2), row.member, folded=True) for row in ablation.rows]
    constant = f"A constant answer scores {write_score(ablation.constant_answer)}."
    sections = [
        Section("Rows", [Paragraph(f"{INTRODUCTION} {constant}"), Table(columns, lines, strong=strong)]),
        *_data_size_sections(ablation),
        Section(
            "Recipes", [Paragraph("Settings as the run recorded them; what is left out is at its default."), *recipes]
        ),
    ]
    return Report(f"Ablation: {ablation.run}", sections, verdict=_verdict(ablation))


def write_ablation(ablation: Ablation, folder: "str | Path | OutputFolder", *, overwrite: bool = False) -> None:
    """Write the report, ``ablation.json``, ``leaderboard.csv`` and, last, ``manifest.json``.

    Parameters
    ----------
    ablation : Ablation
        What was measured.
    folder : str, Path or OutputFolder
        Made if it is absent.
    overwrite : bool, default=False
        Replace an earlier ablation; nothing else is ever replaced.
    """
    from experiments.reports.report_files import write_report
    from experiments.reports.result_manifest import build_manifest, claimed, commit_result
    from stacking.files.atomic_files import atomic_write_json
    from stacking.files.row_table import write_rows

    report = ablation_report(ablation)
    with claimed(folder, "ablation", overwrite=overwrite) as output:
        write_report(report, output, "ablation")
        write_rows(output.path_of("leaderboard.csv"), [asdict(row) for row in ablation.rows])
        atomic_write_json(output.path_of("ablation.json"), ablation.as_dict())
        commit_result(output, build_manifest("ablation", {}, {"run": ablation.run, "baseline": ablation.baseline}))


def _describe_change(recipe: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """Say in a recipe's own words how it differs from another; what only the baseline changes shows its default."""
    if "members" in recipe:
        return f"mean of {' and '.join(recipe['members'])}"
    own, other = _flatten(recipe), _flatten(baseline)
    changed = sorted(key for key in own.keys() | other.keys() if key != "name" and own.get(key) != other.get(key))
    if not changed:
        return "the baseline's recipe"
    defaults = _defaults()
    return ", ".join(f"{key} = {json.dumps(own.get(key, defaults.get(key)))}" for key in changed)


def _defaults() -> dict[str, Any]:
    """Return what a recipe means where it says nothing."""
    from base_models.recipe.member import MemberConfig

    return _flatten(asdict(MemberConfig("any", "any")))


def _check_run(run: Path) -> None:
    """Refuse a folder without what an ablation reads."""
    missing = [name for name in REQUIRED if not (run / name / "index.json").is_file()]
    if not (run / "manifest.json").is_file() or missing:
        raise ValueError(
            f"run must be a finished run folder with a test split: {str(run)!r} has no {' and no '.join(missing)} "
            "store; train it with `labelstack train`, from data that has a test split."
        )


def _scores(found: "Comparison", name: str, baseline: str) -> dict[str, Any]:
    """Read a member's scores and its gain over the baseline."""
    scored, gain = found.row(name), found.difference(name, baseline)
    own = {key: getattr(scored, key) for key in ("score", "low", "high", "macro_f1", "never_predicted")}
    return {**own, "gain": gain.value, "gain_low": gain.low, "gain_high": gain.high}


def _recall_at_tenth(held_out: "PredictionSet") -> dict[str, float]:
    """Measure every member's recall among a tenth of the labels; a label that it does not answer comes last."""
    k = max(1, round(held_out.n_labels / 10))
    truth = np.asarray(held_out.y_true)
    return {
        model: recall_at_k(truth, np.nan_to_num(held_out.model_scores(model)), k, y_known=held_out.y_known)
        for model in held_out.models
    }


def _cost(recipe: Mapping[str, Any], run: Path) -> dict[str, Any]:
    """Add up what a member has cost, or those that it is made of."""
    from base_models.runs.fold_record import FoldRecord

    folds = [
        place
        for name in recipe.get("members", [recipe["name"]])
        for place in sorted((run / "members" / name).glob("fold*"))
    ]
    done = [FoldRecord.read(place) for place in folds]
    return {
        "n_parameters": sum(record.figures["n_parameters"] for record in done if record.fold == 0),
        "cpu_seconds": sum(record.figures["cpu_seconds"] for record in done),
        "n_photos": max(record.figures["n_train"] for record in done),
        "photos_seen": sum(_photos_seen(place / "history.csv") for place in folds),
    }


def _photos_seen(history: Path) -> int:
    """Add up the photos that went through a network in training, from the speed and the time of its epochs."""
    with history.open(newline="", encoding="utf-8") as file:
        return sum(round(float(row["images_per_second"]) * float(row["seconds"])) for row in csv.DictReader(file))


PHOTOS_CHANGED = ("training.train_share = ", "training.train_count = ")


def _data_size_sections(ablation: Ablation) -> "list[Section]":
    """Draw the learning curve over rows that differ from the baseline in how many photos they use, and in no more."""
    from stacking.report import Figure, Paragraph, Section
    from stacking.report.figures import data_size_figure

    ladder = [
        row
        for row in ablation.rows
        if row.member == ablation.baseline or (row.change.startswith(PHOTOS_CHANGED) and "," not in row.change)
    ]
    if len(ladder) < 2:
        return []
    ladder.sort(key=lambda row: row.n_photos)
    svg = data_size_figure(*([getattr(row, key) for row in ladder] for key in ("n_photos", "score", "low", "high")))
    words = "The baseline's recipe with fewer or more of the training photos; the smaller sets are parts of the larger."
    return [Section("How many photos", [Paragraph(words), Figure(svg, "Micro-F1 on the test split with 95 % limits.")])]


def _flatten(recipe: Mapping[str, Any], inside: str = "") -> dict[str, Any]:
    """Name nested settings by their path."""
    flat: dict[str, Any] = {}
    for key, value in recipe.items():
        flat |= _flatten(value, f"{inside}{key}.") if isinstance(value, Mapping) else {f"{inside}{key}": value}
    return flat


def _verdict(ablation: Ablation) -> str:
    """Name the changes whose interval lies above or below 0."""
    better = [row.member for row in ablation.rows if row.gain_low > 0]
    worse = [row.member for row in ablation.rows if row.gain_high < 0]
    parts = [
        f"{words} the baseline, {ablation.baseline}: {', '.join(names)}."
        for words, names in (("Better than", better), ("Worse than", worse))
        if names
    ]
    return " ".join(parts) or f"No member differs from the baseline, {ablation.baseline}, beyond its 95 % limits."
