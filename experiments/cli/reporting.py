"""What a command shows while it works: a bar with an estimate on a terminal, plain lines elsewhere.

Results go to stdout; progress, warnings and log lines go to stderr. With ``--quiet`` results, warnings and errors are
shown.
"""

import json
import logging
import math
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

import typer

from experiments.cli.option_names import say_options

if TYPE_CHECKING:
    from base_models.training.progress import TrainingEvent
    from stacking.report import Cell, Column

ProgressCallback = Callable[..., None]
PLAIN_LINE_SECONDS = 5.0
"""Without a terminal, a progress line is written at most this often: a choice that keeps logs short."""
BAR_WIDTH, OTHER_COLUMNS = 16, 54
"""Characters of a bar, a choice, and of all but what is being done: the time, the bar, share and time left."""

_PACKAGES = ("base_models", "experiments", "labelstack", "optimizers", "stacking")


class Reporter:
    """Show progress, notes and results of one command.

    Parameters
    ----------
    quiet : bool, default=False
        Show results and errors only.
    verbose : bool, default=False
        Also show what is for those who look for the reason of something.
    as_json : bool, default=False
        Write results as one JSON object, and nothing else to stdout.
    """

    def __init__(self, quiet: bool = False, *, verbose: bool = False, as_json: bool = False) -> None:
        self.quiet, self.verbose, self.as_json = quiet, verbose, as_json
        self.following = ""

    def result(self, text: str) -> None:
        """Write one line of the result to stdout, unless results are written as JSON.

        Parameters
        ----------
        text : str
            What to write.
        """
        if not self.as_json:
            typer.echo(text)

    def table(self, columns: Sequence["Column | str"], rows: Sequence[Sequence["Cell"]]) -> None:
        """Write a table with its headers to stdout, unless results are written as JSON.

        Parameters
        ----------
        columns : sequence of Column or str
            As reports have them.
        rows : sequence of sequences of cells
            One cell per column.
        """
        from experiments.cli.tables import write_table

        if rows:
            self.result(write_table(columns, rows))

    def data(self, values: Mapping[str, Any]) -> None:
        """Write the results as one JSON object to stdout, where that was asked for.

        Parameters
        ----------
        values : mapping
            JSON-able but for paths, which are written as text, and for NaN, which is written as null.
        """
        if self.as_json:
            from stacking.files.plain_values import as_plain  # here, so that `--help` is quick

            typer.echo(json.dumps(as_plain(values), ensure_ascii=False, allow_nan=False, default=str))

    def next(self, *arguments: object) -> None:
        """Name the next command, ready to paste; the session writes it to stderr at its end, unless quiet.

        Parameters
        ----------
        *arguments : object
            The command's words after ``labelstack``; quoted where a shell needs it. Words in capitals stand for what
            only the user knows.
        """
        self.following = shlex.join(str(argument) for argument in arguments)

    def detail(self, text: str) -> None:
        """Write one line to stderr, if verbose.

        Parameters
        ----------
        text : str
            What to write.
        """
        if self.verbose:
            typer.echo(text, err=True)

    def note(self, text: str) -> None:
        """Write one line to stderr, unless quiet.

        Parameters
        ----------
        text : str
            What to write.
        """
        if not self.quiet:
            typer.echo(text, err=True)

    @contextmanager
    def progress(self, description: str) -> Iterator[ProgressCallback | None]:
        """Show the progress of one long step.

        Parameters
        ----------
        description : str
            What is being done, until the callback says otherwise.

        Yields
        ------
        callable or None
            ``progress(done, total, description="")`` for the library to call; None when quiet.
        """
        if self.quiet:
            yield None
        elif sys.stderr.isatty():
            with _bar(description) as callback:
                yield callback
        else:
            yield _PlainLines(description)

    @contextmanager
    def training(self) -> Iterator["Callable[[TrainingEvent], None] | None"]:
        """Show the progress of a training run.

        Yields
        ------
        callable or None
            Takes a ``TrainingEvent``; None when quiet.
        """
        if self.quiet:
            yield None
        elif sys.stderr.isatty():
            with _status() as say:
                yield _TrainingLines(say, seconds=0.0)
        else:
            yield _TrainingLines(_echo, seconds=PLAIN_LINE_SECONDS)


class _TrainingLines:
    """Where a training is and how long it will take; what is finished, the library logs itself."""

    def __init__(self, write: Callable[[str], Any], seconds: float) -> None:
        self._write, self._seconds = write, seconds
        self._start = self._last = time.monotonic()
        self._share = 0.0

    def __call__(self, event: "TrainingEvent") -> None:
        now = time.monotonic()
        if event.kind in ("step", "photos", "fold") and now - self._last >= self._seconds:
            self._last = now
            elapsed = now - self._start
            share = elapsed / max(elapsed + event.seconds_left, 1e-9)
            if math.isfinite(share):  # what is done stays done, even where the rest turns out to be longer
                share = self._share = max(self._share, share)
            self._write(_place_in_training(event, share))


def _place_in_training(event: "TrainingEvent", share: float) -> str:
    """Say where a training is, what share of its time is over, and how long the rest takes."""
    left = f", {share:.0%}, about {_duration(event.seconds_left)} left" if math.isfinite(share) else ""
    if event.kind == "photos":
        return f"photos: {event.step:,} of {event.n_steps:,}{left}"
    if event.kind == "fold":
        return event.message + left
    return (
        f"{event.member}, fold {event.fold + 1}/{event.n_folds}, epoch {event.epoch}/{event.n_epochs}, "
        f"step {event.step}/{event.n_steps}, {event.images_per_second:.0f} images/s{left}"
    )


class _PlainLines:
    """Progress as lines of text, one every few seconds."""

    def __init__(self, description: str) -> None:
        self._description = description
        self._start = self._last = time.monotonic()

    def __call__(self, done: float, total: float, description: str = "") -> None:
        now = time.monotonic()
        if now - self._last < PLAIN_LINE_SECONDS:
            return
        self._last = now
        estimate = _time_left(self._start, done, total)
        share = f"{done:.0%}" if total == 1.0 else f"{done:,.12g} of {total:,.12g}"
        typer.echo(f"{description or self._description}: {share}{estimate}", err=True)


def _time_left(started: float, done: float, total: float) -> str:
    """Say how long the rest takes at the pace so far; rich's own estimate knows the last half minute only."""
    left = (time.monotonic() - started) * (total - done) / done if done else math.nan
    return f", about {_duration(left)} left" if done else ""


def _echo(text: str) -> None:
    """Write one line to stderr."""
    typer.echo(text, err=True)


def _duration(seconds: float) -> str:
    """Write a length of time as hours, minutes and seconds."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """Show one line that changes in place on a terminal; it gives way to lines that stay."""
    from rich.console import Console
    from rich.markup import escape

    with Console(stderr=True).status("starting") as status:
        yield lambda text: status.update(escape(text))


@contextmanager
def _bar(description: str) -> Iterator[ProgressCallback]:
    """Show a bar with an estimate on a terminal."""
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TimeElapsedColumn(),
        BarColumn(bar_width=BAR_WIDTH),
        TextColumn("{task.fields[share]}{task.fields[left]}"),
        TextColumn("{task.description}"),
    )
    started, console = time.monotonic(), Console(stderr=True)
    room = max(console.width - OTHER_COLUMNS, 8)  # else rich narrows the bar
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(description, total=None, share="", left="")

        def show(done: float, total: float, description: str = "") -> None:
            cut = description if len(description) <= room else f"{description[: room - 1]}…"
            changes: dict[str, Any] = {"description": escape(cut)} if description else {}
            share = f"{done:.0%}" if total == 1.0 else f"{done:,.12g} of {total:,.12g}"
            left = _time_left(started, done, total)
            bar.update(task, completed=done, total=total, share=share, left=left, **changes)

        yield show


class _StderrHandler(logging.Handler):
    """Write log records to whatever stderr is at that moment (a progress bar replaces it)."""

    def __init__(self, verbose: bool) -> None:
        super().__init__()
        self._verbose = verbose

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record) if self._verbose else record.getMessage()  # tracebacks for who asks for them
        sys.stderr.write(text + "\n")


class _Session:
    """Context of one command: logging and warnings as plain lines, restored afterwards."""

    def __init__(self, quiet: bool, verbose: bool, as_json: bool) -> None:
        if quiet and verbose:
            raise ValueError("give --quiet or --verbose, not both.")
        self._reporter = Reporter(quiet, verbose=verbose, as_json=as_json)
        self._handler = _StderrHandler(verbose)
        self._level = logging.ERROR if quiet else logging.DEBUG if verbose else logging.INFO
        self._warnings = warnings.catch_warnings()
        self._levels: dict[str, int] = {}

    def __enter__(self) -> Reporter:
        self._started = time.monotonic()
        for name in _PACKAGES:
            logger = logging.getLogger(name)
            self._levels[name] = logger.level
            logger.setLevel(self._level)
            logger.addHandler(self._handler)
        self._warnings.__enter__()
        warnings.simplefilter("default", UserWarning)
        warnings.showwarning = self._show_warning
        return self._reporter

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self._warnings.__exit__(kind, value, tb)
        if kind is None:
            self._reporter.detail(f"took {_duration(time.monotonic() - self._started)}")
        if self._reporter.following and (kind is None or issubclass(kind, typer.Exit)):
            self._reporter.note(f"next: labelstack {self._reporter.following}")
        for name in _PACKAGES:
            logger = logging.getLogger(name)
            logger.setLevel(self._levels[name])
            logger.removeHandler(self._handler)

    def _show_warning(self, message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
        sys.stderr.write(f"warning: {say_options(' '.join(str(message).split()))}\n")


def session(quiet: bool = False, *, verbose: bool = False, as_json: bool = False) -> _Session:
    """Open the context in which one command shows what it does.

    Parameters
    ----------
    quiet : bool, default=False
        Show results, warnings and errors only.
    verbose : bool, default=False
        Also show details, tracebacks of what failed without ending the command, and how long it took.
    as_json : bool, default=False
        Write results as one JSON object, and nothing else to stdout.

    Returns
    -------
    context manager
        Gives a `Reporter`.

    Raises
    ------
    ValueError
        If both `quiet` and `verbose` are asked for.
    """
    return _Session(quiet, verbose, as_json)
