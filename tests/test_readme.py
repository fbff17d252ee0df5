"""What the README and the pages of docs/ tell people to type exists: commands are parsed, Python runs.

Pages in folders of docs/ are run as a whole when the site is built (`make site`); here their commands and links are
looked at.
"""

import ast
import re
import shlex
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.main import get_command
from typer.testing import CliRunner

ROOT = Path(__file__).parents[1]
PAGES = {
    path.relative_to(ROOT).as_posix(): path.read_text("utf-8")
    for path in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")))
    if subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False).returncode  # `make site` makes some
}
SHOWN = {name: text for name, text in PAGES.items() if name.count("/") < 2}
"""Pages whose blocks of Python stand alone; those in folders of docs/ are run from top to bottom by `make site`."""


MADE = {"commands.md", "../reference/commands.md"}


def blocks(language, pages=PAGES):
    return [
        (name, block)
        for name, text in pages.items()
        for block in re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)
    ]


def commands():
    shell = [block.replace("\\\n", " ") for _, block in (*blocks("bash"), *blocks("console"))]
    lines = [part for block in shell for line in block.splitlines() for part in line.split(" && ")]
    return [re.split(r"  #| \|| &$| 2>", line)[0].strip() for line in lines if line.startswith("labelstack ")]


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


@pytest.mark.parametrize(("page", "block"), blocks("python", SHOWN), ids=[name for name, _ in blocks("python", SHOWN)])
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
        example = re.fullmatch(r"\.\./gallery/(\w+)\.rst", target)  # pages that `make site` makes
        if example:
            assert example[1] == "index" or (ROOT / "examples" / f"{example[1]}.py").is_file(), target
        elif not target.startswith("https://") and "reference/api/" not in f"docs/{target}" and target not in MADE:
            assert ((ROOT / page).parent / target).exists(), target


@pytest.mark.parametrize("name", ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"])
def test_a_file_that_the_site_includes_has_links_that_lead_somewhere_there_too(name):
    """Such links begin at the root of the repository; Sphinx turns those into docs/ when it is told so."""
    text = (ROOT / name).read_text("utf-8")
    for target in re.findall(r"\]\(([^)#:]+)\)", text):
        assert target.startswith("docs/") and (ROOT / target).exists(), target
    assert ":relative-docs: docs/" in PAGES[f"docs/reference/{name.lower()}"]


def test_every_page_of_a_folder_is_listed_in_its_index():
    for folder in ("tutorials", "how-to", "explanation"):
        listed = set(re.findall(r"^[\w-]+$", PAGES[f"docs/{folder}/index.md"], re.MULTILINE))
        pages = {Path(name).stem for name in PAGES if name.startswith(f"docs/{folder}/")} - {"index"}
        assert pages <= listed, pages - listed


def test_every_page_is_listed_and_the_readme_fits_one_screen():
    pages = {name.removeprefix("docs/") for name in SHOWN if name.startswith("docs/")} - {"index.md"}
    listed = set(re.findall(r"^- \[\S+\]\((\S+)\)", PAGES["docs/index.md"], re.MULTILINE))
    folders = {f"{name.split('/')[1]}/index.md" for name in PAGES if name.count("/") == 2}
    assert listed == pages | folders
    assert len(PAGES["README.md"].splitlines()) <= 60


def test_the_picture_of_the_readme_is_small():
    pictures = re.findall(r"!\[.+?\]\((\S+)\)", PAGES["README.md"])
    assert pictures and all((ROOT / picture).stat().st_size <= 200_000 for picture in pictures)


EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_is_short_and_leads_on(path):
    text = path.read_text("utf-8")
    code = [line for line in ast.unparse(ast.Module(ast.parse(text).body[1:], [])).splitlines() if line]
    assert len(code) <= 40
    assert "import labelstack as ls" in text and len(re.findall(r"Next:\s", text)) == 1
    for name in re.findall(r"sphx_glr_gallery_(\w+)\.py", text):
        assert (ROOT / "examples" / f"{name}.py").is_file(), name


@pytest.mark.parametrize("page", [name for name in PAGES if name.count("/") == 2 and not name.startswith("docs/ref")])
def test_a_page_of_the_site_leads_on(page):
    assert page.endswith("/index.md") or re.search(r"^Next: ", PAGES[page], re.MULTILINE)
