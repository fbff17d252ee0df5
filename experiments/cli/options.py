"""Options that several commands share: where predictions are, and what the labels of a sample must keep.

Predictions are one path (a bundle ``.npz`` or a store folder), or one table or matrix per model with ``--model``
beside ``--truth``.
"""

import inspect
import json
import shlex
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from experiments.cli.completion import complete_metric, complete_rule
from experiments.cli.reporting import Reporter, session

if TYPE_CHECKING:
    from stacking.decision_rules import ImageRules
    from stacking.files.output_folder import OutputFolder
    from stacking.predictions import PredictionSet

Predictions = Annotated[
    Path | None,
    typer.Argument(
        help="A bundle (.npz), a store (folder) or a run (its out-of-fold scores). Leave it out to give one --model "
        "per model."
    ),
]
Truth = Annotated[
    Path | None,
    typer.Option(
        help="Truth: one column per label (.csv, .parquet, .npy, .npz), a table id,labels (joined by | or commas, ids "
        "by spaces, or lists), or id,label with one row per label."
    ),
]
Models = Annotated[
    list[str] | None,
    typer.Option("--model", metavar="[NAME=]FILE", help="Scores of one model: .csv, .parquet or .npy. Once per model."),
]
Ids = Annotated[Path | None, typer.Option(help="Samples and their order, one id per line; .npy matrices need it.")]
Labels = Annotated[
    Path | None,
    typer.Option(
        help="Labels and their order, one per line, or a table labelId,labelName; .npy matrices and label ids need it."
    ),
]
LabelRows = Annotated[
    Path | None,
    typer.Option(
        help="Truth of further samples that no model has scored, in any form of --truth: they teach label-context and "
        "auto what labels go together. Samples that are scored are left out."
    ),
]
Groups = Annotated[
    str | None,
    typer.Option(
        metavar="FILE[:COLUMN]",
        help="Samples that must share a fold, such as photos of one person: a table with the ids and a column group, "
        "or the column that is named.",
    ),
]
FromLogits = Annotated[
    bool, typer.Option("--from-logits", help="The scores are logits: pass them through the sigmoid.")
]
LogitsOf = Annotated[
    list[str] | None,
    typer.Option("--logits-of", metavar="MODEL", help="Only this model's scores are logits. May be repeated."),
]
OutFolder = Annotated[Path, typer.Option("--out", help="Folder for the results; made if it is absent.")]
Log = Annotated[
    str | None,
    typer.Option(
        "--log", metavar="TRACKER", help="Also log to tensorboard, mlflow or wandb, into a folder beside the result."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace an earlier result; it stays until the new one is whole.")
]
Rule = Annotated[
    str,
    typer.Option(
        autocompletion=complete_rule,
        help="auto, or the decision rule that tunes the thresholds, with options after a colon: "
        "micro-macro-f1, recall-at-least:recall=0.95, cost:fp=1,fn=5.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything that is random.")]
Metric = Annotated[
    str,
    typer.Option(
        autocompletion=complete_metric,
        help="What to go by: micro-f1, macro-f1, samples-f1, micro-f0.5, map, roc-auc, log-loss, recall-at-5, "
        "0.5*micro-f1+0.5*map, module:function and more.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show results, warnings and errors only.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also show details, reasons and seconds.")]
Json = Annotated[bool, typer.Option("--json", help="Write the result as one JSON object, and nothing else to stdout.")]


def split_model_option(value: str) -> tuple[str, Path]:
    """Split ``NAME=FILE``; a bare file is named by its stem.

    Parameters
    ----------
    value : str
        What was given to ``--model``.

    Returns
    -------
    tuple of str and Path
        Name and file.

    Raises
    ------
    ValueError
        If the name or the file is empty.

    Examples
    --------
    >>> split_model_option("resnet=scores/a.csv")[0], split_model_option("scores/a.csv.gz")[0]
    ('resnet', 'a')
    """
    from stacking.predictions.forms.text_form import member_name

    name, equals, file = value.partition("=")
    if not equals or (Path(value).exists() and not Path(file).exists()):
        name, file = member_name(Path(value)), value
    if not name or not file:
        raise ValueError(f"it must be NAME=FILE or FILE: got {value!r}.")
    return name, Path(file)


def _split_group_limits(values: list[str] | None, option: str) -> dict[str, int]:
    """Split ``GROUP=N``, given any number of times."""
    limits: dict[str, int] = {}
    for value in values or ():
        group, _, number = value.rpartition("=")
        if not group or not number.isdecimal():
            raise ValueError(f"{option} must be GROUP=N with a whole number N: got {value!r}.")
        if group in limits:
            raise ValueError(f"{option} must name each group once: got {group!r} twice.")
        limits[group] = int(number)
    return limits


def check_out_folder(out: Path) -> None:
    """Raise before any work if results could not be written to a folder.

    Parameters
    ----------
    out : Path
        The folder, which need not exist.

    Raises
    ------
    ValueError
        If it is a file or a link.
    OSError
        If it cannot be written or its disk is full.
    """
    from stacking.files.atomic_files import check_writable
    from stacking.files.output_rules import check_folder

    check_folder(out, "--out")
    check_writable(out)


def is_there(output: "OutputFolder", show: Reporter, results: str = "") -> bool:
    """Say so if the very result that was asked for is there already: nothing is to be done then.

    Parameters
    ----------
    output : OutputFolder
        The claimed folder.
    show : Reporter
        Of the command.
    results : str, default=""
        File of the folder that holds the results as JSON, where the command can write them so.

    Returns
    -------
    bool
        False where the result is to be made, or made anew.
    """
    if output.overwrite or not output.is_there:
        return False
    show.result(f"the result of the same inputs and options is there already: {output.path}")
    if results:
        show.data({"out": output.path, **json.loads((output.path / results).read_text(encoding="utf-8"))})
    return True


def warn_of_faults(predictions: "PredictionSet", given: "GivenPredictions", show: Reporter) -> None:
    """Run the cheap part of `labelstack check` and warn of what would ruin the result.

    Parameters
    ----------
    predictions : PredictionSet
        With or without truth.
    given : GivenPredictions
        How they were given, for the command that says more.
    show : Reporter
        Of the command.
    """
    from stacking.diagnosis import quick_findings

    found = quick_findings(predictions)
    for finding in found:
        typer.echo(f"warning: {finding.message}", err=True)
    if found:
        show.note(f"for more, and what mends it: labelstack check {shlex.join(given.arguments)}")


def free_name(name: str) -> Path:
    """Return a name for a result that nothing has yet.

    Parameters
    ----------
    name : str
        Such as ``ensemble``.

    Returns
    -------
    Path
        The name, or ``ensemble-2`` and so on.
    """
    path, number = Path(name), 1
    while path.exists():
        number += 1
        path = Path(f"{Path(name).stem}-{number}{Path(name).suffix}")
    return path


def input_paths(*given: Path | Sequence[str] | None) -> list[Path]:
    """List what a command reads, so that it is not written to.

    Parameters
    ----------
    *given : Path, sequence of str, or None
        Paths, and values of ``--model``.

    Returns
    -------
    list of Path
        Each path once given.

    Examples
    --------
    >>> [path.name for path in input_paths(Path("truth.csv"), ["resnet=a.csv", "b.npy"], None)]
    ['truth.csv', 'a.csv', 'b.npy']
    """
    paths = []
    for value in given:
        if isinstance(value, Path):
            paths.append(value)
        elif value is not None:
            paths += [split_model_option(option)[1] for option in value]
    return paths


@dataclass(frozen=True)
class GivenPredictions:
    """Where the command line says that predictions are.

    Attributes
    ----------
    predictions : Path or None
        A bundle or a store.
    truth : Path, optional
        Truth.
    model : list of str, optional
        Values of ``--model``.
    ids, labels : Path, optional
        Files with the names.
    groups : str, optional
        File of groups, and perhaps its column.
    from_logits, logits_of : bool, list of str or None
        Which scores are logits.
    """

    predictions: Predictions = None
    truth: Truth = None
    model: Models = None
    ids: Ids = None
    labels: Labels = None
    groups: Groups = None
    from_logits: FromLogits = False
    logits_of: LogitsOf = None

    @property
    def logits(self) -> bool | tuple[str, ...]:
        """Which scores are logits, as `stacking.load_predictions` takes it."""
        if self.from_logits and self.logits_of:
            raise ValueError("give --from-logits for all models or --logits-of for some, not both.")
        return tuple(self.logits_of) if self.logits_of else self.from_logits

    @property
    def place(self) -> Path | None:
        """The bundle or store; None where files of models are given."""
        from experiments.several_sets import store_of

        if self.predictions is None and not self.model:
            raise ValueError("predictions are missing: give a bundle (.npz), a store (folder), or --model per model.")
        if self.predictions is not None and self.model:
            given = str(self.predictions)
            raise ValueError(f"give one path of predictions or --model files, not both: got {given!r} and --model.")
        return None if self.predictions is None else store_of(self.predictions)

    @property
    def model_files(self) -> list[tuple[str, Path]] | None:
        """The files of models by name."""
        return [split_model_option(value) for value in self.model or ()] or None

    def open(self, *, from_logits: bool | tuple[str, ...] | None = None) -> "PredictionSet":
        """Open them.

        Parameters
        ----------
        from_logits : bool or tuple of str, optional
            Which scores are logits; by default what `logits` says.

        Returns
        -------
        PredictionSet
            Aligned by name.

        Raises
        ------
        ValueError
            If neither or both of a path and models are given, a name is given twice, or the files are wrong.
        """
        from stacking.predictions import load_predictions

        path, files = self.place, self.model_files
        names = [name for name, _ in files or ()]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"--model names must differ: {name!r} is given twice; write --model OTHER=FILE.")
        logits = self.logits if from_logits is None else from_logits
        return load_predictions(
            path, models=files, truth=self.truth, ids=self.ids, labels=self.labels, groups=self.groups,
            from_logits=logits,
        )  # fmt: skip

    @property
    def paths(self) -> list[Path]:
        """Return what is read, so that it is not written to."""
        from stacking.predictions.forms.sample_groups import split_groups_path

        groups = None if self.groups is None else split_groups_path(self.groups)[0]
        return input_paths(self.predictions, self.truth, self.model, self.ids, self.labels, groups)

    @property
    def arguments(self) -> list[str]:
        """Return the words that say the same on the command line, for the next command."""
        words = [] if self.predictions is None else [str(self.predictions)]
        options: list[tuple[str, Sequence[Path | str | None]]] = [
            ("--truth", [self.truth]),
            ("--model", self.model or ()),
            ("--ids", [self.ids]),
            ("--labels", [self.labels]),
            ("--groups", [self.groups]),
            ("--logits-of", self.logits_of or ()),
        ]
        words += [word for option, values in options for value in values if value for word in (option, str(value))]
        return [*words, "--from-logits"] if self.from_logits else words

    def stand_ins(self, models: Sequence[str]) -> list[str]:
        """Return words that stand for the same members' scores of other samples.

        Parameters
        ----------
        models : sequence of str
            The members.

        Returns
        -------
        list of str
            For the next command; words in capitals stand for what only the user knows.
        """
        logits = [word for name in self.logits_of or () for word in ("--logits-of", name)]
        logits += ["--from-logits"] if self.from_logits else []
        run = None if self.predictions is None else self.predictions.parent
        if run is not None and (run / "manifest.json").is_file() and (run / "recipe.toml").is_file():
            return ["--run", str(run), "--images", "NEW-PHOTOS"]
        if self.predictions is not None:
            return ["NEW-PREDICTIONS", *logits]
        return [word for name in models for word in ("--model", f"{name}=NEW-SCORES.csv")] + logits


@dataclass(frozen=True)
class GivenImageRules:
    """What the command line says that the labels of every sample must keep; the options of `ImageRules`.

    Attributes
    ----------
    min_labels, max_labels, top_k : int or None
        Labels of a sample.
    never_empty : bool
        Whether every sample gets a label.
    exclusive_group : list of str or None
        Groups of which a sample has at most one label.
    min_per_group, max_per_group : list of str or None
        Values ``GROUP=N``.
    """

    min_labels: Annotated[int, typer.Option(min=0, help="Give every sample at least this many labels.")] = 0
    max_labels: Annotated[int | None, typer.Option(min=0, help="Give no sample more labels than this.")] = None
    top_k: Annotated[int | None, typer.Option(min=1, help="Give every sample exactly this many labels.")] = None
    never_empty: Annotated[bool, typer.Option("--never-empty", help="Leave no sample without a label.")] = False
    exclusive_group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP", help="At most one label of this group per sample. May be repeated."),
    ] = None
    min_per_group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP=N", help="At least N labels of this group per sample. Repeatable."),
    ] = None
    max_per_group: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP=N", help="At most N labels of this group per sample. Repeatable."),
    ] = None

    def read(self) -> "ImageRules | None":
        """Make the rules.

        Returns
        -------
        ImageRules or None
            None where none is given.

        Raises
        ------
        ValueError
            If a value has the wrong form, or two of them contradict each other.
        """
        from stacking.decision_rules import ImageRules

        rules = ImageRules(
            min_labels=self.min_labels,
            max_labels=self.max_labels,
            top_k=self.top_k,
            exclusive_groups=tuple(self.exclusive_group or ()),
            min_per_group=_split_group_limits(self.min_per_group, "--min-per-group"),
            max_per_group=_split_group_limits(self.max_per_group, "--max-per-group"),
            never_empty=self.never_empty,
        )
        return rules if rules.is_active else None

    @property
    def arguments(self) -> list[str]:
        """Return the words that say the same on the command line, for the next command."""
        options: list[tuple[str, Sequence[str | int | None]]] = [
            ("--min-labels", [self.min_labels or None]),
            ("--max-labels", [self.max_labels]),
            ("--top-k", [self.top_k]),
            ("--exclusive-group", self.exclusive_group or ()),
            ("--min-per-group", self.min_per_group or ()),
            ("--max-per-group", self.max_per_group or ()),
        ]
        words = [
            word for option, values in options for value in values if value is not None for word in (option, str(value))
        ]
        return [*words, "--never-empty"] if self.never_empty else words


@dataclass(frozen=True)
class Console:
    """How much a command says.

    Attributes
    ----------
    quiet, verbose : bool
        Less than usual, or more.
    """

    quiet: Quiet = False
    verbose: Verbose = False

    def session(self, *, silent: bool = False) -> AbstractContextManager[Reporter]:
        """Open what the command speaks through.

        Parameters
        ----------
        silent : bool, default False
            Say nothing more than ``--quiet`` would: of several processes only the first speaks.

        Returns
        -------
        context manager
            Gives a `Reporter`.
        """
        return session(
            self.quiet or silent, verbose=self.verbose and not silent, as_json=getattr(self, "as_json", False)
        )


@dataclass(frozen=True)
class JsonConsole(Console):
    """How much a command says, and in what form.

    Attributes
    ----------
    as_json : bool
        As one JSON object.
    """

    as_json: Json = False


_SETS = (GivenPredictions, GivenImageRules, Console, JsonConsole)
"""What stands for several options."""


def with_shared_options(command: Callable[..., None]) -> Callable[..., None]:
    """Put the options themselves in the place of parameters that stand for several, those of the console last.

    Parameters
    ----------
    command : callable
        ``Annotated[GivenPredictions, "truth"]`` as the type of a parameter leaves the option ``truth`` out.

    Returns
    -------
    callable
        The command as typer reads it.
    """
    sets: dict[str, tuple[type, list[str]]] = {}
    options: list[inspect.Parameter] = []
    last: list[inspect.Parameter] = []
    for name, parameter in inspect.signature(command).parameters.items():
        kind, *left_out = get_args(parameter.annotation) or (parameter.annotation,)
        if kind not in _SETS:
            options.append(parameter)
            continue
        shared = [option for key, option in inspect.signature(kind).parameters.items() if key not in left_out]
        sets[name] = (kind, [option.name for option in shared])
        (last if issubclass(kind, Console) else options).extend(shared)

    @wraps(command)
    def run(**values: Any) -> None:
        given = {name: made(**{key: values.pop(key) for key in keys}) for name, (made, keys) in sets.items()}
        command(**given, **values)

    taken = [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in (*options, *last)]
    run.__signature__ = inspect.Signature(taken)  # type: ignore[attr-defined]  # what typer reads
    run.__annotations__ = {option.name: option.annotation for option in taken}
    return run
