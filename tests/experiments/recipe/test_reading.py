import dataclasses
from pathlib import Path

import pytest

from base_models.recipe.problems import RecipeError
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
        ("epochs = 2", 'epochs = "many"', r'training\.epochs must be a whole number: got "many"\.'),
        ('name = "tiny"', 'name = "tiny"\nzzz = 1', r"unknown key 'zzz'; known here: .*members"),
        ("[training]", "[trainning]", r"unknown key 'trainning'; did you mean 'training'\?"),
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


def test_all_problems_are_told_at_once(write):
    """Unknown keys hide wrong types in pydantic, wrong types hide wrong values, and wrong members what they share."""
    path = write("""
nmae = "tiny"
seed = "one"
[data]
format = "cvs"
root = 3
min_label_count = -1
[trainnig]
epochs = 0
warmup = 2
batch_size = "many"
batchsize = 3
[[members]]
network = "resnet18"
name = "twice"
size = 8
hidden = [0]
[members.training]
loss = "focl"
epochs = 2.5
dropout = 1.5
[[members]]
name = "twice"
network = "resnet34"
weights = "$NO_SUCH_VAR/w.pth"
[[members]]
name = "third"
[[derived]]
name = "both"
members = ["twice", "fourth"]
[folds]
n_folds = 1
validation_fraction = 0.9
""")
    with pytest.raises(RecipeError, match=r"recipe\.toml' has 21 problems:") as caught:
        load_recipe(path)
    assert sorted(caught.value.problems) == sorted(
        [
            "unknown key 'nmae'; did you mean 'name'?",
            "unknown key 'trainnig'; did you mean 'training'?",
            "unknown key 'training.batchsize'; did you mean 'batch_size'?",
            'seed must be a whole number: got "one".',
            'data.format must be "imaterialist-json", "csv", "folder" or "tar": got "cvs"; did you mean "csv"?',
            "data.root must be a text in quotes: got 3.",
            "data.min_label_count must be at least 0: got -1; correct the recipe.",
            "training.epochs must be at least 1: got 0.",
            "training.warmup must lie in [0, 1): got 2.0.",
            'training.batch_size must be a whole number: got "many".',
            "members.0.size of member 'twice' must be at least 16 pixels: got 8.",
            "members.0.hidden of member 'twice' must hold widths from 1 on: got [0].",
            'members.0.training.loss must be "bce", "focal", "asymmetric", "poly", "two-way", "zlpr" or '
            '"distribution-balanced": got "focl"; did you mean "focal"?',
            "members.0.training.epochs must be a whole number: got 2.5.",
            "members.0.training.dropout must lie in [0, 1): got 1.5.",
            "the key 'members.2.network' is missing: it must be a text in quotes; add it.",
            "members.1.weights: the path '$NO_SUCH_VAR/w.pth' needs the environment variable 'NO_SUCH_VAR': set it, or "
            "write the path out.",
            "folds.n_folds must be at least 2: got 1; use scheme 'holdout' for one network.",
            "folds.validation_fraction must lie in (0, .5]: got 0.9.",
            "members must have different names: 'twice' occurs more than once.",
            "derived member 'both' must name trained members: got 'fourth'.",
        ]
    )


def test_a_problem_that_others_follow_from_is_told_alone(write):
    with pytest.raises(RecipeError) as caught:
        load_recipe(write(MINIMAL.replace("[data]", "[dat]")))
    assert caught.value.problems == ("unknown key 'dat'; did you mean 'data'?",)


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
