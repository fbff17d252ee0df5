"""`labelstack learning-rate`: one curve and one suggestion a member, and nothing else changed."""

import csv
import json

import numpy as np
import pytest

pytest.importorskip("torch")

from safetensors.torch import save_file

from base_models.networks.network import create_network
from base_models.recipe.member import MemberConfig
from base_models.testing import write_tiny_photos


@pytest.fixture
def recipe(tmp_path):
    write_tiny_photos(tmp_path / "photos", 24, 6)
    network = create_network(MemberConfig("b", "test_resnet", size=32), np.full(6, 0.2))
    save_file(network.body.state_dict(), tmp_path / "body.safetensors")
    path = tmp_path / "recipe.toml"
    path.write_text(
        'name = "t"\nn_threads = 1\n[data]\nformat = "folder"\nroot = "photos"\nsplit_column = "split"\n'
        "[training]\nepochs = 1\nbatch_size = 6\n"
        '[[members]]\nname = "a"\nnetwork = "test_resnet"\nsize = 32\n'
        '[[members]]\nname = "b"\nnetwork = "test_resnet"\nsize = 32\n'
        f'features = "precomputed"\nweights = "{tmp_path / "body.safetensors"}"\n'
        '[[members]]\nname = "rare"\nnetwork = "test_resnet"\nsize = 32\nlabels = "rare"\nsplit_share = 0.5\n'
    )
    return path


def test_every_member_gets_a_curve(labelstack, recipe, tmp_path):
    out = tmp_path / "rates"
    command = ["learning-rate", recipe, "--steps", 12, "--highest", 0.01, "--device", "cpu", "--out", out]
    done = labelstack(*command, "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)["members"]
    assert [row["member"] for row in told] == ["a", "b", "rare"]
    with (out / "curves.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 36 and float(rows[0]["learning_rate"]) == pytest.approx(1e-5)
    assert {path.name for path in (out / "charts").iterdir()} == {f"chart-0{n}.svg" for n in (1, 2, 3)}
    text = (out / "report.md").read_text()
    assert "Smith 2017" in text and "| a |" in text
    again = labelstack(*command)
    assert again.exit_code == 0 and "is there already" in again.stdout
    assert "next: labelstack train" in again.stderr
    other = labelstack(*command, "--member", "a")
    assert other.exit_code == 2 and "--overwrite" in other.stderr
    assert labelstack(*command, "--member", "a", "--overwrite").exit_code == 0
    assert len((out / "curves.csv").read_text().splitlines()) == 13 and len(list((out / "charts").iterdir())) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--member", "c"], "member must be one of a, b, rare"),
        (["--lowest", "0"], "lowest must be positive"),
        (["--steps", "3"], "at least 10"),
    ],
)
def test_wrong_options_are_refused(labelstack, recipe, tmp_path, options, words):
    done = labelstack("learning-rate", recipe, "--device", "cpu", "--out", tmp_path / "rates", *options)
    assert done.exit_code == 2 and words in done.stderr and not (tmp_path / "rates").exists()
