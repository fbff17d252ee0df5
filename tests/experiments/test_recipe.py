import dataclasses
from pathlib import Path

import pytest

from experiments.recipe import build, load_recipe, read_toml

MINIMAL = """
name = "tiny"
[data]
format = "csv"
root = "photos"
annotations = "annotations.csv"
[training]
epochs = 2
[[members]]
name = "small"
network = "resnet18"
[members.training]
batch_size = 8
[[members]]
name = "other"
network = "resnet34"
"""


@pytest.fixture
def write(tmp_path):
    def _write(text):
        path = tmp_path / "recipe.toml"
        path.write_text(text)
        return path

    return _write


def test_training_table_gives_every_member_its_defaults(write):
    run = load_recipe(write(MINIMAL))
    assert [member.training.epochs for member in run.members] == [2, 2]
    assert [member.training.batch_size for member in run.members] == [8, 64]
    assert run.data.root == "photos"


@pytest.mark.parametrize(
    ("line", "replacement", "sentence"),
    [
        ("epochs = 2", "epoch = 2", r"unknown key 'training\.epoch'; did you mean 'epochs'\?"),
        (
            "batch_size = 8",
            "batchsize = 8",
            r"members\.0\.training\.batchsize'; did you mean 'batch_size'\?",
        ),
        ("[data]", "[dat]", r"unknown key 'dat'; did you mean 'data'\?"),
        ('root = "photos"', "", r"the key 'data\.root' is missing"),
        ("epochs = 2", "epochs = 0", r"training: epochs must be at least 1: got 0|epochs must be at least 1: got 0"),
        ("epochs = 2", 'epochs = "many"', r"training\.epochs: input should be a valid integer.*got 'many'"),
        ('name = "tiny"', "zzz = 1", r"unknown key 'zzz'; known here: .*members"),
        ("[data]", "[data", r"must be valid TOML"),
        (
            'network = "resnet34"',
            'network = "resnet34"\nweights = "$NO_SUCH_VAR/w.pth"',
            r"environment variable 'NO_SUCH_VAR'",
        ),
    ],
)
def test_bad_recipe_gets_one_sentence(write, line, replacement, sentence):
    assert line in MINIMAL
    with pytest.raises(ValueError, match=sentence) as caught:
        load_recipe(write(MINIMAL.replace(line, replacement)))
    assert "\n" not in str(caught.value) or "TOML" in str(caught.value)


def test_absent_recipe(tmp_path):
    with pytest.raises(ValueError, match="there is none at"):
        read_toml(tmp_path / "nothing.toml")


def test_weight_files_are_relative_to_the_recipe(write, monkeypatch):
    monkeypatch.setenv("WEIGHTS", "deep")
    text = MINIMAL.replace('network = "resnet34"', 'network = "resnet34"\nweights = "$WEIGHTS/w.safetensors"')
    path = write(text)
    assert load_recipe(path).members[1].weights == str(path.parent / "deep" / "w.safetensors")


@dataclasses.dataclass(frozen=True)
class Leaf:
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012
    height: int = 1


@dataclasses.dataclass(frozen=True)
class Tree:
    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012
    leaf: Leaf | None = None
    leaves: dict[str, Leaf] = dataclasses.field(default_factory=dict)


@pytest.mark.parametrize("document", [{"leaf": {"hight": 2}}, {"leaves": {"first": {"hight": 2}}}])
def test_did_you_mean_inside_optional_and_mapping(document):
    with pytest.raises(ValueError, match=r"did you mean 'height'\?"):
        build(Tree, document, Path("r.toml"))
