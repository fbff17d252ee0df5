"""The command `labelstack`: which commands there are. Each imports what it needs when it runs, so `--help` is quick."""

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

import typer

from experiments.cli.check import check
from experiments.cli.data import describe, download, ingest, pack_photos, synthesize
from experiments.cli.demo import demo
from experiments.cli.ensembles import evaluate, fit, predict
from experiments.cli.export import export, push
from experiments.cli.failures import GuardedCommand, GuardedGroup
from experiments.cli.init import init
from experiments.cli.listings import keys, methods, metrics, networks, optimizers, rules
from experiments.cli.members import ablation, doctor, explain, learning_rate, report, train
from experiments.cli.options import with_shared_options
from experiments.cli.predictions import compare, optimize, pack
from experiments.cli.recipes import recipes
from experiments.cli.serve import serve
from experiments.cli.suspects import suspects

SECONDS_TO_THE_NEXT_TRY = 0.1  # long enough for the fork that lost the signal to be over: a choice

app = typer.Typer(
    name="labelstack",
    epilog="Start with: labelstack demo --predictions. With scores of your own: labelstack check. Exit codes: "
    "0 done, 1 internal failure, 2 bad input, 3 check found a fault, 130 interrupted.",
    cls=GuardedGroup,
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
data = typer.Typer(help="Make, fetch and clean data sets.", no_args_is_help=True, rich_markup_mode=None)
data.command(epilog="Example: labelstack data synthesize --out fashionblocks --n-train 4000")(synthesize)
data.command(epilog="Example: labelstack data download train.json --out raw --dry-run")(download)
data.command(epilog="Example: labelstack data ingest raw --annotations train.json --out photos")(ingest)
data.command(
    "pack-photos", epilog="Example: labelstack data pack-photos recipe.toml new-photos --size 64 --out packed"
)(pack_photos)
data.command(epilog="Example: labelstack data describe recipe.toml --out description")(describe)
app.command(epilog="Example: labelstack demo --predictions")(demo)
app.command(epilog="Example: labelstack init photos labels.csv --out recipe.toml")(init)
app.command(epilog="Example: labelstack train recipe.toml --out run")(train)
app.command(epilog="Example: labelstack report run --out run-report --edges 100,1000")(report)
app.command(
    epilog="Example: labelstack pack predictions.npz --split 0.65 --out fitting.npz --rest-out held-back.npz",
)(pack)
app.command(epilog="Example: labelstack check --truth truth.csv --model resnet.csv --model vit.csv")(check)
app.command(epilog="Example: labelstack optimize run/oof --optimizer pso --objective micro-f1-best --out weights")(
    optimize
)
app.command(epilog="Example: labelstack compare run/oof --holdout run/test --out comparison")(compare)
app.command(epilog="Example: labelstack ablation run --baseline full --out ablation")(ablation)
app.command(epilog="Example: labelstack fit run/oof --out ensemble --time-limit 300")(fit)
app.command(epilog="Example: labelstack predict ensemble --run run --images new-photos --out labels.csv")(predict)
app.command(epilog="Example: labelstack evaluate ensemble run/test --out evaluation")(evaluate)
app.command(epilog="Example: labelstack export ensemble --numpy exported --onnx ensemble.onnx")(export)
app.command(epilog="Example: labelstack serve ensemble --port 8000")(serve)
app.command(epilog="Example: labelstack push ensemble me/fashion-ensemble")(push)
app.command(epilog="Example: labelstack explain run --images new-photos --top 3 --out explanation")(explain)
app.command(epilog="Example: labelstack suspects predictions.npz --out suspects")(suspects)
app.command(epilog="Example: labelstack doctor --recipe recipe.toml")(doctor)
app.command("learning-rate", epilog="Example: labelstack learning-rate recipe.toml --member resnet50 --out rates")(
    learning_rate
)
app.command(epilog="Example: labelstack recipes seeds/004 --out recipe.toml")(recipes)
app.add_typer(data, name="data")
EXAMPLES: dict[Callable[..., None], str] = {
    methods: "",
    rules: "",
    optimizers: " --json",
    metrics: "",
    networks: " 'resnet*'",
    keys: " epochs",
}
for listing, example in EXAMPLES.items():
    app.command(epilog=f"Example: labelstack {listing.__name__}{example}")(listing)
for command in (*app.registered_commands, *data.registered_commands):
    command.cls = GuardedCommand
    if command.callback:
        about = (command.callback.__doc__ or "").split("\n\n")[0]
        command.short_help = " ".join(about.split())  # the whole sentence: click cuts what it makes itself
        command.callback = with_shared_options(command.callback)


def _show_version(wanted: bool) -> None:
    """Write the version and exit."""
    if wanted:
        from importlib.metadata import version

        typer.echo(f"labelstack {version('labelstack')}")
        raise typer.Exit


@app.callback()
def labelstack(
    version: bool = typer.Option(False, "--version", is_eager=True, callback=_show_version, help="Show the version."),
) -> None:
    """Combine several models that label the same things into one predictor, and say how much better it is."""


def main() -> None:
    """Run the command line; the command and ``python -m labelstack`` call this."""
    os.environ["PYTHONSAFEPATH"] = "1"  # for every process that is started from here
    signal.signal(signal.SIGTERM, _terminate)
    sys.unraisablehook = _stop_again
    app()


def _terminate(number: int, frame: FrameType | None) -> None:
    """Leave as after a signal, but let `finally` and `with` clean up."""
    sys.exit(128 + number)


def _stop_again(lost: Any) -> None:
    """Repeat a signal whose exception was lost, as happens when it arrives while a worker process is being forked."""
    value = lost.exc_value
    if isinstance(value, KeyboardInterrupt):
        number = signal.SIGINT
    elif isinstance(value, SystemExit) and value.code == 128 + signal.SIGTERM:
        number = signal.SIGTERM
    else:
        sys.__unraisablehook__(lost)
        return
    again = threading.Timer(SECONDS_TO_THE_NEXT_TRY, os.kill, (os.getpid(), number))
    again.daemon = True
    again.start()
