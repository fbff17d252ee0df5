from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from experiments.cli.failures import GuardedGroup, bad_input_sentence
from experiments.recipe import read_toml


def app_raising(action):
    app = typer.Typer(cls=GuardedGroup)

    @app.command()
    def work():
        action()

    @app.command()
    def other():
        pass

    return app


def run(action):
    return CliRunner().invoke(app_raising(action), ["work"])


def test_error_raised_on_purpose_is_bad_input():
    result = run(lambda: read_toml("no/such/recipe.toml"))
    assert result.exit_code == 2
    assert result.stderr.startswith("labelstack: the recipe must be a TOML file")
    assert len(result.stderr.strip().splitlines()) == 1


def test_value_error_out_of_numpy_is_internal_and_its_traceback_is_kept():
    result = run(lambda: np.zeros((2, 3)) @ np.zeros((2, 3)))
    assert result.exit_code == 1
    assert "internal failure (ValueError" in result.stderr
    log = Path(result.stderr.strip().rpartition(" ")[2])
    assert "Traceback" in log.read_text()
    assert "Traceback" not in result.stderr
    log.unlink()


def test_value_error_without_raise_in_our_own_code_is_internal():
    from experiments.submission import write_labels_csv

    try:
        write_labels_csv("x.csv", ["a"], ["b"], None)  # type: ignore[arg-type]
    except AttributeError as error:
        assert bad_input_sentence(error) is None


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (FileNotFoundError(2, "No such file or directory", "x.npz"), 2, "x.npz: No such file or directory."),
        (OSError(28, "No space left on device"), 2, "No space left on device."),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), 2, "pip install 'labelstack[train]'"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_exit_codes(error, code, words):
    def action():
        raise error

    result = run(action)
    assert result.exit_code == code
    assert words in result.stderr
