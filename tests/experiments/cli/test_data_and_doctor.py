import json
import re
import shlex

import pytest

RECIPE = """
name = "tiny"
[data]
format = "imaterialist-json"
root = "photos"
annotations = "train.json"
test_annotations = "test.json"
labels = "labels.csv"
[folds]
n_folds = 2
[training]
epochs = 1
batch_size = 8
[[members]]
name = "small"
network = "resnet10t"
size = 32
"""


@pytest.fixture
def blocks(labelstack, tmp_path):
    folder = tmp_path / "blocks"
    command = ["data", "synthesize", "--out", folder, "--n-train", 12, "--n-validation", 0, "--n-test", 4, "--size", 32]
    done = labelstack(*command)
    assert done.exit_code == 0, done.output
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


def test_synthesize_writes_the_contest_form(blocks):
    content = json.loads((blocks / "train.json").read_text())
    assert len(content["annotations"]) == 12
    assert len(list(blocks.glob("photos/**/*.jpg"))) == 16


def test_synthesize_ends_with_a_command_that_works(labelstack, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    sizes = ("--n-train", 12, "--n-validation", 0, "--n-test", 0, "--size", 32)
    done = labelstack("data", "synthesize", "--out", "my blocks", *sizes)
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("next: ")]
    command = shlex.split(line.removeprefix("next: labelstack "))
    assert command == ["init", "my blocks/photos", "my blocks/train.json", "--out", "recipe.toml"]
    begun = labelstack(*command)
    assert begun.exit_code == 0, begun.output
    assert (tmp_path / "recipe.toml").is_file()


def test_synthesize_refuses_another_data_set(labelstack, blocks):
    done = labelstack("data", "synthesize", "--out", blocks, "--n-train", 3)
    assert done.exit_code == 2
    assert "choose another" in done.stderr


def test_doctor_names_versions(labelstack, tmp_path):
    done = labelstack("doctor", "--out", tmp_path)
    assert done.exit_code == 0
    assert "numpy" in done.stdout
    assert "GiB free" in done.stdout


def test_doctor_estimates_a_recipe(labelstack, blocks):
    done = labelstack("doctor", "--recipe", blocks / "recipe.toml")
    assert done.exit_code == 0, done.output
    assert "member small: " in done.stdout
    assert "16 photos × " in done.stdout
    crews = "1 process of 1 thread|2 processes side by side, 1 thread each"  # as torch has one thread or more
    assert re.search(f"2 folds, ({crews}): about ", done.stdout)


def test_doctor_counts_precomputed_features_once(labelstack, blocks):
    member = """[[members]]
name = "{}"
network = "test_resnet"
weights = "body.safetensors"
features = "precomputed"
"""
    head = RECIPE.partition("[[members]]")[0]
    (blocks / "recipe.toml").write_text(head + member.format("one") + member.format("other"))
    done = labelstack("doctor", "--recipe", blocks / "recipe.toml")
    assert done.exit_code == 0, done.output
    assert done.stdout.count("features of test_resnet, ") == 1
    assert "member other: " in done.stdout


def test_doctor_names_a_misspelt_key(labelstack, blocks):
    path = blocks / "recipe.toml"
    path.write_text(RECIPE.replace("epochs", "epoch"))
    done = labelstack("doctor", "--recipe", path)
    assert done.exit_code == 2
    assert "unknown key 'training.epoch'; did you mean 'epochs'?" in done.stderr
