"""Turn an exception into an exit code and one sentence.

Exit codes: 0 done, 1 an internal failure (the traceback is kept in a file, which is named), 2 bad input (one
sentence, no traceback), 130 interrupted. What counts as bad input: a ValueError or TypeError that our packages raise
on purpose, an operating system error about a file or the disk, and a missing optional package. A ValueError that
comes out of numpy because of our own mistake is internal.
"""

import os
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from typer import Abort, Exit
from typer.core import TyperCommand, TyperGroup

from experiments.cli.option_names import Typed, named_by, say_options

BAD_INPUT = 2  # as click and argparse exit on bad usage
INTERNAL_FAILURE = 1  # as Python exits on a traceback
INTERRUPTED = 130  # as shells report SIGINT: 128 + 2

EXTRA_OF = {
    "torch": "train",
    "torchvision": "train",
    "timm": "train",
    "safetensors": "train",
    "accelerate": "train",
    "skimage": "train",
    "aiohttp": "train",
    "pydantic": "train",
    "PIL": "train",
    "matplotlib": "report",
    "pyswarms": "search",
    "cmaes": "search",
    "h5py": "h5",
    "pyarrow": "parquet",
    "distributed": "dask",
    "ray": "ray",
    "prometheus_client": "serve",
    "python_multipart": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
}


def bad_input_sentence(error: BaseException) -> str | None:
    """Return the sentence for the user if the error is about the input, else None.

    Parameters
    ----------
    error : BaseException
        What a command raised.

    Returns
    -------
    str or None
        One line without traceback, one more for each of a recipe's problems, or None for an internal failure.
    """
    from stacking.process.statements import is_our_statement  # here, so that `--help` is quick

    if isinstance(error, ModuleNotFoundError) and error.name:
        extra = EXTRA_OF.get(error.name.partition(".")[0])
        return (
            f"this needs the package {error.name!r}: install it with pip install 'labelstack[{extra}]'."
            if extra
            else None
        )
    if isinstance(error, OSError) and (error.filename is not None or error.errno is not None):
        reason = error.strerror or str(error)
        return f"{error.filename}: {reason}." if error.filename is not None else f"{reason}."
    if isinstance(error, ValueError | TypeError | OSError | ImportError) and is_our_statement(error):
        lines = str(error).splitlines() if getattr(error, "problems", ()) else [str(error)]  # a line for each problem
        return "\n  ".join(" ".join(line.split()) for line in lines)
    return None


def _keep_traceback(error: BaseException) -> str:
    """Write the traceback to a file of its own and return its path."""
    handle, path = tempfile.mkstemp(prefix="labelstack-error-", suffix=".log", text=True)
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"command: {' '.join(sys.argv)}\n\n")
        file.writelines(traceback.format_exception(error))
    return path


@contextmanager
def exit_codes() -> Iterator[None]:
    """Run a command and leave with the exit code that its outcome deserves.

    Yields
    ------
    None
        Nothing; the command runs inside.
    """
    try:
        yield
    except KeyboardInterrupt:
        _leave(INTERRUPTED, "interrupted: what was finished is kept; run the same command again to go on.", None)
    except Exception as error:
        if isinstance(error, Exit | Abort) or type(error).__module__.startswith("typer."):
            raise  # typer's own: --help, a missing argument, …
        sentence = bad_input_sentence(error)
        if sentence is not None:
            _leave(BAD_INPUT, say_options(sentence), error)
        kind = type(error).__name__
        try:
            kept = f"the traceback is in {_keep_traceback(error)}"
        except OSError as reason:
            kept = f"the traceback could not be kept ({reason.strerror}): set TMPDIR to a folder that can be written"
        _leave(INTERNAL_FAILURE, f"internal failure ({kind}: {error}); {kept}", error)


def _leave(code: int, message: str, cause: Exception | None) -> None:
    """Write one line to stderr and exit."""
    sys.stderr.write(f"labelstack: {message}\n")
    raise Exit(code) from cause


class GuardedGroup(TyperGroup):
    """The group of all commands; maps exceptions to exit codes."""

    def invoke(self, ctx):  # type: ignore[no-untyped-def]  # typer keeps the type of its context private
        """Run the chosen command.

        Parameters
        ----------
        ctx : typer.Context
            Context of the call.

        Returns
        -------
        object
            What the command returned.
        """
        with exit_codes():
            return super().invoke(ctx)


class GuardedCommand(TyperCommand):
    """A command; errors of the library name its options."""

    def invoke(self, ctx):  # type: ignore[no-untyped-def]  # typer keeps the type of its context private
        """Run it.

        Parameters
        ----------
        ctx : typer.Context
            Context of the call.

        Returns
        -------
        object
            What it returned.
        """
        with named_by(Typed.of(ctx)), exit_codes():
            return super().invoke(ctx)
