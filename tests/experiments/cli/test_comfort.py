"""What a person at a shell meets: lists of choices, JSON, tables, next commands, completion, earlier results kept."""

import json
import os
import shlex
import subprocess
import sys

import numpy as np
import pytest
from typer.main import get_command

from experiments.cli import app
from experiments.cli.tables import write_table
from stacking.predictions import save_predictions
from stacking.report import Column


@pytest.fixture
def work(tmp_path, monkeypatch, bundle, held_back):
    monkeypatch.chdir(tmp_path)
    return tmp_path


COMMANDS = {
    "check": ("check", "predictions.npz"),
    "pack": ("pack", "predictions.npz", "--out", "packed.npz"),
    "optimize": ("optimize", "predictions.npz", "--out", "weights"),
    "compare": ("compare", "predictions.npz", "--methods", "mean", "--folds", "2", "--out", "comparison"),
    "fit": ("fit", "predictions.npz", "--method", "mean", "--out", "my ensemble"),
    "predict": ("predict", "my ensemble", "held-back.npz", "--out", "labels.csv"),
    "evaluate": ("evaluate", "my ensemble", "held-back.npz", "--out", "evaluation"),
    "doctor": ("doctor",),
}


def next_command(stderr):
    """Return the words of the command that is named last."""
    last = stderr.strip().splitlines()[-1]
    assert last.startswith("next: labelstack ")
    return shlex.split(last.removeprefix("next: labelstack "))


@pytest.mark.parametrize("again", [False, True])
def test_every_command_names_the_next_ready_to_paste(work, labelstack, again):
    for name, arguments in COMMANDS.items():
        done = labelstack(*arguments)
        if again and name != "doctor":  # the result is there already: what follows it is told all the same
            done = labelstack(*arguments)
        assert done.exit_code == 0, done.output
        following = next_command(done.stderr)
        get_command(app).commands[following[0]].make_context(following[0], following[1:])  # all of it is understood
        if name == "pack":
            assert labelstack(*following).exit_code == 0


def test_after_predict_the_truth_that_is_known_is_named(work, labelstack):
    labelstack(*COMMANDS["fit"])
    done = labelstack(*COMMANDS["predict"], "--without", "specialist")
    command = next_command(done.stderr)
    assert command == ["evaluate", "my ensemble", "held-back.npz", "--without", "specialist", "--out", "evaluation"]
    assert labelstack(*command).exit_code == 0
    with np.load("held-back.npz") as held:
        np.savez("without-truth.npz", **{name: held[name] for name in held if name != "y_true"})
    command = next_command(labelstack("predict", "my ensemble", "without-truth.npz", "--out", "other.csv").stderr)
    assert command[2:5] == ["without-truth.npz", "--truth", "TRUTH.csv"]


def test_after_suspects_comes_a_fit_on_the_same_scores_with_a_mended_truth(work, labelstack):
    command = next_command(labelstack("suspects", "predictions.npz", "--top", "3", "--out", "suspects").stderr)
    assert command == ["fit", "predictions.npz", "--truth", "MENDED-TRUTH.csv", "--out", "ensemble"]


def test_quiet_says_nothing_but_results(work, labelstack):
    done = labelstack(*COMMANDS["fit"], "-q")
    assert done.stderr == ""
    assert "my ensemble" in done.stdout


@pytest.mark.parametrize("again", [False, True])
def test_json_is_one_object_and_nothing_else(work, labelstack, again):
    for name, arguments in COMMANDS.items():
        if name == "doctor":
            continue
        if again:
            labelstack(*arguments)
        done = labelstack(*arguments, "--json")
        assert done.exit_code == 0, done.output
        values = json.loads(done.stdout)
        assert isinstance(values, dict)
        assert values
        if name in ("compare", "evaluate"):
            assert values["rows"][0]["score"] > 0.5
        if name == "fit":
            assert (values["method"], values["out"]) == ("mean", "my ensemble")


def test_bad_input_leaves_stdout_empty_for_json(work, labelstack):
    done = labelstack("fit", "nothing.npz", "--out", "ensemble", "--json")
    assert (done.exit_code, done.stdout) == (2, "")


def test_results_are_tables_with_headers(work, labelstack):
    done = labelstack(*COMMANDS["compare"])
    header, *rows = done.stdout.splitlines()
    assert header.split("  ")[0] == "method"
    assert "95 % interval" in header
    assert any(row.startswith("cnn/a") and " member " in row for row in rows)


def test_fit_writes_what_it_chose(work, labelstack):
    labelstack("fit", "predictions.npz", "--out", "ensemble", "--time-limit", "1")
    page = (work / "ensemble/report.html").read_text(encoding="utf-8")
    text = (work / "ensemble/report.md").read_text(encoding="utf-8")
    assert "What auto tried" in text
    assert "color:red" in page
    assert "<script src" not in page
    beside = json.loads((work / "ensemble/manifest.json").read_text())["beside"]
    assert beside == ["README.md", "report.html", "report.md"]
    assert labelstack("predict", "ensemble", "held-back.npz", "--out", "labels.csv").exit_code == 0


@pytest.mark.parametrize("name", ["pack", "fit", "compare", "optimize", "evaluate", "predict"])
def test_an_earlier_result_is_replaced_only_when_asked(work, labelstack, name):
    labelstack(*COMMANDS["fit"])
    arguments = COMMANDS[name]
    assert labelstack(*arguments).exit_code == 0
    out = work / arguments[-1]
    before = {path: path.read_bytes() for path in (sorted(out.rglob("*.json")) if out.is_dir() else [out])}
    other = {"predict": ("--without", "specialist"), "pack": ("--drop", "specialist")}.get(name, ("--seed", "7"))
    refused = labelstack(*arguments, *other)
    assert refused.exit_code == 2
    assert "--overwrite" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    assert {path: path.read_bytes() for path in before} == before
    assert labelstack(*arguments, *other, "--overwrite").exit_code == 0


def test_a_report_of_the_users_own_is_not_replaced_by_a_fit(work, labelstack):
    labelstack(*COMMANDS["fit"])
    (work / "my ensemble/notes.md").write_text("mine")
    assert labelstack(*COMMANDS["fit"], "--seed", "7", "--overwrite").exit_code == 0
    assert (work / "my ensemble/notes.md").read_text() == "mine"
    assert (work / "my ensemble/report.html").is_file()


def test_lists_hold_what_the_registries_hold(labelstack):
    from optimizers import list_optimizers
    from stacking.combiners.registry import find_method, list_methods
    from stacking.decision_rules import list_decision_rules

    listed = {name: json.loads(labelstack(name, "--json").stdout)[name] for name in ("methods", "rules", "optimizers")}
    assert [row["method"] for row in listed["methods"]] == list_methods()
    assert [row["what_it_does"] for row in listed["methods"]] == [find_method(n).description for n in list_methods()]
    assert [row["rule"] for row in listed["rules"]] == ["auto", *list_decision_rules()]
    assert [row["optimizer"] for row in listed["optimizers"]] == list_optimizers()
    assert all(row["what_it_does"] for rows in listed.values() for row in rows)
    metrics = {row["metric"] for row in json.loads(labelstack("metrics", "--json").stdout)["metrics"]}
    assert {"micro-f1", "macro-f1", "log-loss"} <= metrics
    networks = json.loads(labelstack("networks", "--json").stdout)["networks"]
    assert "mobilenetv1_100" in {row["network"] for row in networks}
    table = labelstack("methods").stdout
    assert table.splitlines()[0].split() == ["method", "kind", "cost", "needs", "in", "all", "what", "it", "does"]


def test_a_pattern_lists_what_timm_has(labelstack):
    pytest.importorskip("timm")
    found = labelstack("networks", "resnet3*", "--json")
    assert "resnet32ts" in {row["network"] for row in json.loads(found.stdout)["networks"]}
    assert "must match a name that timm knows" in labelstack("networks", "nosuchnet").stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_names_the_commands(shell):
    env = {**os.environ, "_LABELSTACK_COMPLETE": f"complete_{shell}"}
    env |= {"COMP_WORDS": "labelstack comp", "COMP_CWORD": "1", "_TYPER_COMPLETE_ARGS": "labelstack comp"}
    env |= {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    code = "import sys; sys.argv[0] = 'labelstack'; from experiments.cli import app; app(prog_name='labelstack')"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert "compare" in done.stdout
    assert "evaluate" not in done.stdout


@pytest.mark.parametrize(
    ("typed", "wanted"),
    [
        ("fit --method ridge-c", "ridge-context"),
        ("fit --rule micro-m", "micro-macro-f1"),
        ("compare --metric macro", "macro-f1"),
        ("optimize --optimizer differ", "differential-evolution"),
        ("compare --methods mean,ridge-c", "mean,ridge-context"),
        ("compare --rules half,cyc", "half,cyclic"),
    ],
)
def test_completion_names_what_may_be_chosen(typed, wanted):
    env = {
        **os.environ,
        "_LABELSTACK_COMPLETE": "complete_bash",
        "COMP_WORDS": f"labelstack {typed}",
        "COMP_CWORD": "3",
    }
    code = "import sys; sys.argv[0] = 'labelstack'; from experiments.cli import app; app(prog_name='labelstack')"
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert wanted in done.stdout.split()


def test_completion_can_be_installed(tmp_path):
    env = {**os.environ, "HOME": str(tmp_path), "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    code = "import sys; sys.argv[0] = 'labelstack'; from experiments.cli import app; app(prog_name='labelstack')"
    command = [sys.executable, "-c", code, "--install-completion", "bash"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "labelstack" in "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_a_table_keeps_to_the_line():
    rows = [["auto", 0.81, "a long explanation that does not fit on one line of a narrow terminal at all"]]
    text = write_table(["method", Column("score", "score"), "why"], rows, width=50)
    assert max(map(len, text.splitlines())) <= 50
    assert len(text.splitlines()) > 2
    wide = write_table(["名前", "x"], [["名", "y"]], width=50)
    assert wide.splitlines()[1] == "名    y"


def test_an_ensemble_of_a_run_labels_new_photos_next(labelstack, make_predictions, tmp_path):
    run = tmp_path / "run"
    save_predictions(make_predictions(), run / "oof")
    for name in ("manifest.json", "recipe.toml"):
        (run / name).write_text("{}")
    done = labelstack("fit", run / "oof", "--method", "mean", "--out", tmp_path / "ensemble")
    assert done.exit_code == 0, done.stderr
    assert next_command(done.stderr)[2:6] == ["--run", str(run), "--images", "NEW-PHOTOS"]
