"""Measuring in processes of their own, ranking, growth and the report."""

import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import experiments.benchmarks.__main__ as runner
from experiments.benchmarks import worker
from experiments.benchmarks.__main__ import main
from experiments.benchmarks.datasets import Split, load_split
from experiments.benchmarks.imports import time_commands
from experiments.benchmarks.processes import MeasurementFailedError, Plan, measure
from experiments.benchmarks.quality import rank_systems, read_fashion
from experiments.benchmarks.report import as_markdown, describe_part, read_parts, write_report
from experiments.benchmarks.rows import Goal, Row
from experiments.benchmarks.scaling import fit_growth
from experiments.benchmarks.speed import measure_row
from experiments.benchmarks.tabular import SYSTEMS
from experiments.benchmarks.worker import Job, child_seconds, time_job


@pytest.fixture
def plan(tmp_path):
    return Plan(tmp_path / "scratch", None, repeats=2, timeout=120)


@pytest.fixture
def split(tmp_path, rng):
    y_true = (rng.random((60, 4)) < 0.4).astype(np.uint8)
    scores = (0.6 * y_true + 0.4 * rng.random((3, 60, 4))).astype(np.float32)
    path = tmp_path / "split.npz"
    arrays = {"y_scores": scores, "y_true": y_true, "y_scores_test": scores[:, ::-1], "y_true_test": y_true[::-1]}
    np.savez(path, **arrays)
    return str(path)


def test_cheapest_call_after_the_first_counts(monkeypatch):
    monkeypatch.setattr(worker, "_compile_at_once", lambda: False)  # no loop of ours is called
    durations = iter([0.2, 0.05, 0.01, 0.05])

    def run():
        until = time.process_time() + next(durations)
        while time.process_time() < until:
            pass
        return "last"

    values = time_job(Job(run, lambda result: {"result": result}), 3)
    assert values["first_call_seconds"] >= 0.2
    assert 0.01 <= values["cpu_seconds"] < 0.05
    assert (values["n_calls"], values["result"]) == (4, "last")
    assert values["peak_gib"] is None or values["peak_gib"] >= values["base_gib"]


def test_children_are_counted():
    import subprocess

    before = child_seconds()
    code = "import time\nwhile time.process_time() < .3: pass"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert child_seconds() - before >= 0.25


def test_a_peer_is_measured_in_a_process_of_its_own(plan, split):
    values = measure(plan, "experiments.benchmarks.peers:numpy_greedy", {"path": split})
    assert sum(values["weights"]) == pytest.approx(1.0)
    assert values["cpu_seconds"] > 0
    assert isinstance(load_split(split), Split)


def test_failure_names_its_reason(plan):
    with pytest.raises(MeasurementFailedError, match="FileNotFoundError"):
        measure(plan, "experiments.benchmarks.peers:numpy_greedy", {"path": "absent.npz"})


def test_crash_is_a_failure_not_an_end(plan):
    row = measure_row(plan, Row("job", "system", False), "os:_exit", {"status": 3})
    assert "ended with code 3" in row.trouble


def test_time_limit_is_kept(tmp_path):
    impatient = Plan(tmp_path, None, timeout=0.01)
    with pytest.raises(MeasurementFailedError, match="gave up"):
        measure(impatient, "time:sleep", {})


def test_command_that_fails_says_so(plan):
    commands = {"good": [sys.executable, "-c", "pass"], "bad": [sys.executable, "-c", "raise SystemExit('no luck')"]}
    costs = time_commands(Plan(plan.scratch, None, quick=True), commands)
    assert costs["good"]["cpu_seconds"] >= 0
    assert "no luck" in costs["bad"]["trouble"]


def test_ranks_are_averaged_and_ties_shared():
    scores = {"best base": (0.5, 0.5), "plain mean": (0.6, 0.7), "sklearn StackingClassifier": (0.4, None)}
    scores["labelstack"] = (0.6, 0.69)
    rows = [
        Row(f"set {place}", system, system == "labelstack", values={} if value is None else {"test_micro_f1": value})
        for system, values in scores.items()
        for place, value in enumerate(values)
    ]
    summary = {row.system: row for row in rank_systems(rows)}
    assert list(summary) == list(SYSTEMS)
    assert summary["plain mean"].values["mean_rank"] == pytest.approx(1.25)
    assert summary["labelstack"].values["mean_rank"] == pytest.approx(1.75)
    assert summary["labelstack"].values["worst_gain"] == pytest.approx(-0.01)
    assert [verdict.split()[0] for verdict in summary["labelstack"].verdicts()] == ["missed", "missed"]


def test_growth_tells_linear_from_quadratic():
    sizes = (10, 100, 1000)
    linear = fit_growth("rows", sizes, [Row("", "", True, values={"first_call_seconds": 1 + 0.1 * n}) for n in sizes])
    square = fit_growth(
        "rows", sizes, [Row("", "", True, values={"first_call_seconds": 1 + 0.1 * n**2}) for n in sizes]
    )
    assert linear.values["seconds_per_unit"] == pytest.approx(0.1)
    assert linear.verdicts() == ["reached"]
    assert square.verdicts()[0].startswith("missed by")
    assert "not measured" in fit_growth("rows", sizes, [Row("", "", True)] * 3).trouble


def test_report_lists_what_was_missed_and_keeps_other_parts(tmp_path):
    missed = Row("job", "labelstack", True, values={"cpu_seconds": 0.2}, goals=(Goal("cpu_seconds", 0.1),))
    write_report(tmp_path, {"speed": describe_part([missed], 0.5, quick=False)})
    parts = read_parts(tmp_path)
    parts["imports"] = describe_part([Row("start", "import", True, trouble="skipped: why")], 0.5, quick=False)
    write_report(tmp_path, parts)
    text = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "**0 of 1 goals reached.**" in text
    assert "- job, labelstack: ≤ 0.1 CPU s: missed by 0.1 CPU s" in text
    assert "skipped: why" in text
    content = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
    assert list(content["parts"]) == ["speed", "imports"]
    assert content["machine"]["versions"]["numpy"] == np.__version__
    assert as_markdown(content) == text


def test_quick_run_judges_nothing(tmp_path):
    missed = Row("job", "labelstack", True, values={"cpu_seconds": 0.2}, goals=(Goal("cpu_seconds", 0.1),))
    write_report(tmp_path, {"speed": describe_part([missed], 0.5, quick=True)})
    text = (tmp_path / "benchmarks.md").read_text(encoding="utf-8")
    assert "missed" not in text
    assert "Quick run" in text


def test_parts_share_the_minutes_and_a_resumed_run_keeps_what_is_whole(tmp_path, monkeypatch):
    """Each part may take its share of what is left; a part that ran out of time is measured again."""
    started = []

    def part(name, trouble=""):
        def run(plan):
            started.append((name, plan.deadline - time.monotonic()))
            return [Row(name, "labelstack", True, trouble=trouble)]

        return run

    monkeypatch.setattr(runner, "PARTS", {"speed": part("speed"), "scaling": part("scaling", runner.BUDGET_SPENT)})
    monkeypatch.setattr(runner, "MINUTES", {"speed": 3.0, "scaling": 1.0})
    command = ["--only", "speed,scaling", "--out", str(tmp_path), "--minutes", "8"]
    main(command)
    assert [name for name, _ in started] == ["speed", "scaling"]
    assert started[0][1] == pytest.approx(60 * 6, abs=5)
    assert started[1][1] == pytest.approx(60 * 8, abs=20)  # what the first part left over
    started.clear()
    main([*command, "--resume"])
    assert [name for name, _ in started] == ["scaling"]


def test_nothing_begins_after_the_deadline(plan):
    late = replace(plan, deadline=time.monotonic() - 1)
    row = measure_row(late, Row("job", "peer", False), "experiments.benchmarks.peers:numpy_sort", {"path": "none"})
    assert row.trouble == f"not measured: {runner.BUDGET_SPENT}"


def test_versions_of_another_environment_are_kept(tmp_path):
    part = describe_part([], 0.5, quick=False, minutes=2.0)
    part["machine"]["versions"]["autogluon.core"] = "9.9"
    write_report(tmp_path, {"speed": part, "imports": describe_part([], 0.5, quick=False)})
    content = json.loads((tmp_path / "benchmarks.json").read_text(encoding="utf-8"))
    assert content["machine"]["versions"]["autogluon.core"] == "9.9"
    assert "in 2.0 minutes" in (tmp_path / "benchmarks.md").read_text(encoding="utf-8")


def test_sets_that_time_did_not_suffice_for_are_not_ranked():
    def rows(job, score, trouble=""):
        return [
            Row(
                job, system, system == "labelstack", values={} if trouble else {"test_micro_f1": score}, trouble=trouble
            )
            for system in SYSTEMS
        ]

    spent = rows("b", 0.0, f"not measured: {runner.BUDGET_SPENT}")
    summary = rank_systems([*rows("a", 0.5), *spent])
    assert {row.note for row in summary} == {"1 sets"}
    assert rank_systems(spent)[0].trouble.startswith("not measured")


def test_photos_are_read_from_the_committed_results():
    rows = read_fashion(Plan(Path(), None))
    assert [row.verdicts() for row in rows] == [[], [], ["reached", "reached"]]
    assert rows[0].values["test_micro_f1"] < rows[1].values["test_micro_f1"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--only", "spead"], "--only must name parts"),
        (["--quick"], "--quick needs --out"),
        (["--minutes", "0"], "--minutes must be above 0"),
    ],
)
def test_command_line_refuses(capsys, arguments, complaint):
    with pytest.raises(SystemExit):
        main(arguments)
    assert complaint in capsys.readouterr().err
