"""Whoever typed a command is told which option is wrong, not which argument of a function of ours."""

import re

import pytest
from typer.main import get_command

from experiments.cli import app
from experiments.cli.option_names import Typed, say_options
from experiments.fashionblocks.scores import example_scores
from stacking.ensemble.ensemble import StackingEnsemble
from stacking.predictions import save_predictions

COMMANDS = {
    "fit": ["P", "--method", "mean", "--out", "O"],
    "compare": ["P", "--methods", "mean", "--folds", "2", "--out", "O"],
    "optimize": ["P", "--out", "O"],
    "evaluate": ["E", "P", "--out", "O"],
    "predict": ["E", "P", "--out", "O"],
    "suspects": ["P", "--out", "O"],
    "pack": ["P", "--out", "O"],
    "check": ["P"],
    "export": ["E", "--numpy", "O"],
}
WRONG = {"int": "-3", "float": "nan", "Path": "missing.csv", "str": "nonsense!"}


def kind_of(option):
    annotation = str(option.type_descriptor.annotation if hasattr(option, "type_descriptor") else option.type)
    return next((kind for kind in ("Path", "int", "float") if kind.lower() in annotation.lower()), "str")


def options():
    for name, words in COMMANDS.items():
        for option in get_command(app).commands[name].params:
            typed = max(option.opts, key=len)
            if (
                option.param_type_name == "option"
                and not option.is_flag
                and typed not in ("--out", "--help", "--numpy")
            ):
                yield pytest.param(name, words, typed, kind_of(option), id=f"{name} {typed}")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A folder with predictions and an ensemble that is fitted on them."""
    folder = tmp_path_factory.mktemp("given")
    scores = example_scores(120)
    save_predictions(scores.subset(samples=range(60)), folder / "p.npz")
    StackingEnsemble("mean").fit(scores.subset(samples=range(60, 120))).save(folder / "e")
    return folder


@pytest.mark.parametrize(
    ("sentence", "said"),
    [
        ("y_true= or truth= (--truth) must be given", "--truth must be given"),
        ("give its names as ids= and labels= (--ids, --labels).", "give its names as --ids and --labels."),
        ("give the names of its rows and columns (--ids, --labels)", None),
        ("n_splits must be at least 2: got 1.", "--folds must be at least 2: got 1."),
        ("min_labels (or top_k) must not exceed 4", "--min-labels (or --top-k) must not exceed 4"),
        ("the file 'time_limit' and `time_limit` are no options", None),
        ("methods are many; the rule is one", None),
        ("models must be among 2: got 'vti'.", "--only: models must be among 2: got 'vti'."),
        ("time_limit must be a number: got nan.", "--fit-time-limit must be a number: got nan."),
        ("--only must name a model: got 'vti'.", None),
    ],
)
def test_arguments_become_options(sentence, said):
    names = (
        "truth",
        "ids",
        "labels",
        "folds",
        "min_labels",
        "top_k",
        "time_limit",
        "methods",
        "only",
        "fit_time_limit",
    )
    typed = Typed(
        {name: f"--{name.replace('_', '-')}" for name in names}, {"--only": ["'vti'"], "--fit-time-limit": ["nan"]}
    )
    assert say_options(sentence, typed) == (said or sentence)


def test_what_a_command_lacks_is_left_alone():
    assert (
        say_options("y_true (as given) must be 0 or 1: got 'x'.", Typed())
        == "y_true (as given) must be 0 or 1: got 'x'."
    )


@pytest.mark.parametrize(("command", "words", "option", "kind"), list(options()))
def test_the_option_that_is_wrong_is_named(labelstack, given, tmp_path, monkeypatch, command, words, option, kind):
    monkeypatch.chdir(tmp_path)
    places = {"P": given / "p.npz", "E": given / "e", "O": "out.csv" if command == "predict" else "out"}
    words = [places.get(word, word) for word in words]
    if option in words:
        del words[words.index(option) : words.index(option) + 2]
    done = labelstack(command, *words, option, WRONG[kind], "--quiet" if command != "check" else "--json")
    assert done.exit_code in (0, 2, 3), done.output
    if done.exit_code == 2:
        is_named = option in done.stderr or done.stderr.startswith(f"labelstack: {WRONG[kind]}") or kind == "Path"
        assert is_named, done.stderr
        assert kind != "Path" or "missing.csv" in done.stderr or "--" in done.stderr, done.stderr
        sentence = re.sub(r"'[^']*'", "", done.stderr)
        assert not re.search(
            r"\b(y_true|y_scores|random_state|n_splits|from_logits|time_limit|image_rules)\b", sentence
        )
