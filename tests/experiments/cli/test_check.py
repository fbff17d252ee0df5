"""`labelstack check` as a person meets it: faults planted in files, the commands that mend them run for real."""

import json
import os
import pty
import shlex
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from experiments.cli.check import FAULTS_FOUND

LABELS = ["dress", "red", "long sleeve"]


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """Three members and the truth as CSV files with ids that look like numbers, in a folder of their own."""
    rng = np.random.default_rng(0)
    monkeypatch.chdir(tmp_path)
    ids = [f"{row:04d}" for row in range(240)]
    y_true = (rng.random((240, 3)) < (0.5, 0.4, 0.3)).astype(int)
    frames = {"truth": pd.DataFrame(y_true, ids, LABELS)}
    for name, noise in (("resnet", 1.0), ("my vit", 1.4), ("mobile", 1.8)):
        scores = 1 / (1 + np.exp(1.5 - 3 * y_true - noise * rng.normal(size=y_true.shape)))
        frames[name] = pd.DataFrame(scores.round(6), ids, LABELS)
    for name, frame in frames.items():
        frame.rename_axis("id").to_csv(f"{name}.csv")
    return frames


GIVEN = ("--truth", "truth.csv", "--model", "resnet.csv", "--model", "my vit.csv", "--model", "mobile.csv")


def write(frame, name="my vit"):
    frame.rename_axis("id").to_csv(f"{name}.csv")


def test_clean_tables_are_green_and_the_next_command_works(tables, labelstack):
    done = labelstack("check", *GIVEN)
    assert done.exit_code == 0
    assert "0 red, 0 yellow, 11 green" in done.stdout
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("next: ")]
    command = shlex.split(line.removeprefix("next: labelstack "))
    assert command == ["compare", *GIVEN, "--out", "comparison"]
    assert labelstack(*command, "--methods", "mean").exit_code == 0


SPOIL = {
    "percentages": ("scale", lambda frame: 100 * frame),
    "inverted": ("inverted", lambda frame: 1 - frame),
    "shifted": ("rows", lambda frame: frame.set_axis(np.roll(frame.index, 9))),
    "sorted": ("rows", lambda frame: frame.set_axis(frame.index[::-1])),
    "misspelt": ("labels", lambda frame: frame.rename(columns={"long sleeve": "long sleve"})),
    "swapped": ("columns", lambda frame: frame.set_axis(["red", "long sleeve", "dress"], axis=1)[LABELS]),
    "twice": ("ids", lambda frame: pd.concat([frame, frame[:3]])),
    "too many": ("ids", lambda frame: pd.concat([frame, frame[:2].set_axis(["x1", "x2"])])),
    "one label inverted": ("inverted", lambda frame: frame.assign(red=1 - frame["red"])),
    "plus and minus": ("scale", lambda frame: 2 * frame - 1),
    "log probabilities": ("scale", lambda frame: np.log(frame)),
}


@pytest.mark.parametrize("fault", SPOIL)
def test_the_command_mends_the_fault(tables, labelstack, fault):
    check, spoil = SPOIL[fault]
    write(spoil(tables["my vit"]))
    found = labelstack("check", *GIVEN, "--json")
    assert found.exit_code == FAULTS_FOUND
    report = json.loads(found.stdout)
    (red,) = [finding for finding in report["findings"] if finding["severity"] == "red"]
    assert (red["check"], red["member"]) == (check, "my vit")
    command = shlex.split(red["command"])
    assert command[:2] == ["python", "-c"]
    exec(command[2], {})  # what the shell would run, without the seconds of another process
    mended = labelstack("check", *[word.replace("my vit.csv", "my vit=my vit-mended.csv") for word in GIVEN])
    assert mended.exit_code == 0, mended.stdout
    back = pd.read_csv("my vit-mended.csv", dtype={"id": str}).set_index("id")
    np.testing.assert_allclose(back.loc[tables["my vit"].index, LABELS], tables["my vit"], atol=1e-5)


def test_the_command_runs_in_a_shell(tables, labelstack):
    write(100 * tables["my vit"])
    found = labelstack("check", *GIVEN)
    (line,) = [line.strip() for line in found.stdout.splitlines() if line.strip().startswith("python -c ")]
    python = shlex.quote(sys.executable)
    subprocess.run(line.replace("python", python, 1), shell=True, check=True)
    assert labelstack("check", "--truth", "truth.csv", "--model", "my vit-mended.csv").exit_code == 0


def test_logits_are_mended_by_an_option(tables, labelstack):
    write(np.log(tables["my vit"] / (1 - tables["my vit"])))
    found = labelstack("check", *GIVEN)
    assert found.exit_code == FAULTS_FOUND
    (line,) = [line.strip() for line in found.stdout.splitlines() if "--logits-of" in line]
    assert labelstack(*shlex.split(line)[1:]).exit_code == 0


def test_missing_ids_name_the_difference(tables, labelstack):
    write(tables["my vit"].set_axis([str(int(name)) for name in tables["my vit"].index]))
    found = labelstack("check", *GIVEN)
    assert found.exit_code == FAULTS_FOUND
    assert "differ by zeros in front: write ids as text everywhere" in " ".join(found.stdout.split())


def test_a_file_that_cannot_be_read_is_one_finding_among_others(tables, labelstack, tmp_path):
    (tmp_path / "my vit.csv").write_text("id,dress,red,long sleeve\n0000,yes,.1,.2\n")
    write(100 * tables["mobile"], "mobile")
    found = labelstack("check", *GIVEN, "--json")
    red = {finding["check"] for finding in json.loads(found.stdout)["findings"] if finding["severity"] == "red"}
    assert red == {"reading", "scale"}


def test_bundles_and_stores_are_checked_too(tables, labelstack):
    labelstack("pack", *GIVEN, "--out", "packed.npz")
    labelstack("pack", *GIVEN, "--out", "store")
    assert labelstack("check", "packed.npz").exit_code == 0
    same = labelstack("check", "store", "--test", "packed.npz")
    assert same.exit_code == 3 and "240 of 240 test rows are among those to fit on" in " ".join(same.stdout.split())
    with np.load("packed.npz") as held:
        arrays = dict(held)
    arrays["y_scores"] = arrays["y_scores"].copy()
    arrays["y_scores"][1] *= 100
    np.savez("spoilt.npz", **arrays)
    found = labelstack("check", "spoilt.npz", "--json")
    assert found.exit_code == FAULTS_FOUND
    assert "percentages" in found.stdout


def test_of_a_run_the_out_of_fold_and_the_test_scores_are_read(tables, labelstack):
    labelstack("pack", *GIVEN, "--out", "run/oof", "--split", "0.7", "--rest-out", "run/test")
    shown = [labelstack("check", *paths, "--json") for paths in (["run"], ["run/oof"])]
    assert [done.exit_code for done in shown] == [0, 0]
    assert json.loads(shown[0].stdout)["findings"] == json.loads(shown[1].stdout)["findings"]
    beside = [labelstack("check", "run", "--test", path, "--json") for path in ("run", "run/test")]
    assert [done.exit_code for done in beside] == [0, 0]
    assert json.loads(beside[0].stdout)["findings"] == json.loads(beside[1].stdout)["findings"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((), "predictions are missing"),
        (("--model", "nothing.csv"), "nothing.csv must be a file or folder of predictions: it does not exist"),
        (("packed.npz", "--model", "resnet.csv"), "not both"),
        (("--model", "resnet.csv", "--test", "nothing"), "--test must be a bundle or a store"),
        (("--model", "resnet.csv", "-q", "-v"), "give --quiet or --verbose, not both"),
    ],
)
def test_wrong_input_is_one_sentence(tables, labelstack, arguments, sentence):
    done = labelstack("check", *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert sentence in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("command", ["fit", "compare"])
def test_fit_and_compare_warn_of_what_they_can_see_at_a_glance(tables, labelstack, command):
    write(1 - tables["my vit"])
    method = ("--method", "mean") if command == "fit" else ("--methods", "mean")
    done = labelstack(command, *GIVEN, *method, "--out", "out")
    assert done.exit_code == 0
    assert "warning: my vit gives high scores where labels are absent" in done.stderr
    assert f"labelstack check {shlex.join(GIVEN)}" in done.stderr


def run_on_a_terminal(arguments, columns, **environment):
    """Run a command on a pseudo-terminal; return what a person sees, but for what comes and goes (the progress)."""
    master, slave = pty.openpty()
    env = {**os.environ, "COLUMNS": str(columns), "TERM": "xterm-256color", **environment}
    command = [sys.executable, "-m", "labelstack", *arguments]
    with subprocess.Popen(command, stdout=slave, stderr=subprocess.DEVNULL, stdin=slave, env=env):
        os.close(slave)
        seen = b""
        while True:
            try:
                part = os.read(master, 4096)
            except OSError:  # Linux reports the end of a terminal so
                break
            if not part:
                break
            seen += part
    os.close(master)
    return seen.decode()


def test_colors_are_for_terminals_that_want_them(tables):
    write(100 * tables["my vit"])
    colored = run_on_a_terminal(["check", *GIVEN], 80, NO_COLOR="")
    plain = run_on_a_terminal(["check", *GIVEN], 80, NO_COLOR="1")
    assert "\x1b[31m" in colored
    assert "\x1b[" not in plain
    prose = [line for line in plain.splitlines() if "python -c" not in line and not line.startswith("next: ")]
    assert max(map(len, prose)) <= 80
