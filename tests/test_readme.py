"""What the README and the pages of docs/ tell people to type exists: commands are parsed, Python runs."""

import re
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.main import get_command
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
}


def blocks(language):
    return [
        (name, block)
        for name, text in PAGES.items()
        for block in re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    ]


def commands():
    lines = [part for _, block in blocks("bash") for line in block.splitlines() for part in line.split(" && ")]
    return [line.split("  #")[0].strip() for line in lines if line.startswith("labelstack ")]


def test_the_pages_show_every_command_of_the_prediction_path():
    shown = {shlex.split(command)[1] for command in commands()}
    path = {"check", "pack", "compare", "fit", "predict", "evaluate", "optimize", "train", "doctor", "report", "demo"}
    assert path | {"methods", "rules", "metrics", "optimizers"} <= shown


@pytest.mark.parametrize("line", commands())
def test_a_command_of_the_pages_is_understood(line):
    from experiments.cli import app

    words = shlex.split(line, comments=True)[1:]
    command = get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    assert {word for word in words if word.startswith("--")} <= options
    path = shlex.split(line)[1:2]
    assert CliRunner().invoke(app, [*path, "--help"]).exit_code == 0


@pytest.mark.parametrize(("page", "block"), blocks("python"), ids=[name for name, _ in blocks("python")])
def test_a_python_block_of_the_pages_runs(page, block, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "new").mkdir()
    rng = np.random.default_rng(0)
    for folder, n_rows in (("", 90), ("new", 30)):  # the tables that the README reads
        index = pd.Index([f"{folder}photo{row}" for row in range(n_rows)], name="id")
        y_true = pd.DataFrame((rng.random((n_rows, 3)) < 0.4).astype(int), index, ["red", "blue", "long"])
        for model in ("resnet", "vit", "cnn"):
            scores = 1 / (1 + np.exp(-(3 * y_true - 1.5 + rng.normal(size=y_true.shape))))
            scores.to_csv(tmp_path / folder / f"{model}.csv")
        if not folder:
            y_true.to_csv("labels.csv")
    exec(compile(block, page, "exec"), {"__name__": "page"})
    if page == "README.md":
        assert (tmp_path / "comparison" / "report.html").is_file()


@pytest.mark.parametrize("target", re.findall(r"^make (\S+)", "\n".join(b for _, b in blocks("bash")), re.MULTILINE))
def test_a_make_target_of_the_pages_exists(target):
    assert re.search(rf"^{target}:.*## ", (ROOT / "Makefile").read_text(), flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_is_there(page):
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES[page]):
        assert target.startswith("https://") or ((ROOT / page).parent / target).exists(), target


def test_every_page_is_listed_and_the_readme_fits_one_screen():
    pages = {Path(name).name for name in PAGES if name.startswith("docs/")} - {"index.md"}
    assert pages == {name for name in re.findall(r"^- \[\S+\]\((\S+)\)", PAGES["docs/index.md"], re.MULTILINE)}
    assert len(PAGES["README.md"].splitlines()) <= 60


def test_the_picture_of_the_readme_is_small():
    pictures = re.findall(r"!\[.+?\]\((\S+)\)", PAGES["README.md"])
    assert pictures and all((ROOT / picture).stat().st_size <= 200_000 for picture in pictures)
