"""The command `export`, as a person at a shell uses it."""

import json
import shutil

import pytest


@pytest.fixture
def ensemble(labelstack, bundle, tmp_path):
    assert labelstack("fit", bundle, "--method", "greedy", "--out", tmp_path / "ensemble").exit_code == 0
    return tmp_path / "ensemble"


def test_a_folder_for_numpy_is_written_once_and_replaced_when_asked(labelstack, ensemble, tmp_path):
    place = tmp_path / "exported"
    done = labelstack("export", ensemble, "--numpy", place)
    assert done.exit_code == 0 and done.stdout.splitlines() == [f"exported: {place}"]
    done = labelstack("export", ensemble, "--numpy", place, "--json")
    assert done.exit_code == 0 and json.loads(done.stdout)["is_there_already"]
    assert labelstack("export", ensemble, "--numpy", place, "--overwrite").exit_code == 0


def test_both_forms_at_once(labelstack, ensemble, tmp_path):
    pytest.importorskip("onnx", reason="onnx is not installed")
    done = labelstack("export", ensemble, "--numpy", tmp_path / "n", "--onnx", tmp_path / "e.onnx")
    assert done.exit_code == 0 and (tmp_path / "e.onnx").stat().st_size and (tmp_path / "n" / "predict.py").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{ensemble}"], "must say where the export is to go"),
        (["{ensemble}", "--onnx", "{tmp}/e.pb"], "ends in .onnx"),
        (["{ensemble}", "--numpy", "{ensemble}"], "must be empty"),
        (["{ensemble}", "--numpy", "{tmp}"], "must be empty"),
        (["{bundle}", "--numpy", "{tmp}/e"], "must be a folder written by `labelstack fit`"),
        (["{tmp}/nothing", "--numpy", "{tmp}/e"], "must be a folder written by `labelstack fit`"),
        (["{run}", "--numpy", "{tmp}/e"], "is a training run; give onnx="),
        (["{damaged}", "--numpy", "{tmp}/e"], "was changed after it was saved"),
    ],
)
def test_wrong_input_is_answered_in_a_sentence(labelstack, ensemble, bundle, tmp_path, arguments, message):
    damaged, run = tmp_path / "damaged", tmp_path / "run"
    shutil.copytree(ensemble, damaged)
    combiner = damaged / "combiner.json"
    combiner.write_text(combiner.read_text().replace("greedy", "greedx"))
    run.mkdir()
    (run / "manifest.json").write_text('{"recipe_hash": "0", "finished": true}')
    names = {"ensemble": ensemble, "bundle": bundle, "tmp": tmp_path, "damaged": damaged, "run": run}
    done = labelstack("export", *[word.format(**names) for word in arguments])
    assert done.exit_code == 2, done.output
    assert message in done.stderr.strip().splitlines()[-1] and "Traceback" not in done.stderr
    assert not (tmp_path / "e").exists()


def test_without_onnx_the_command_says_what_to_install(labelstack, ensemble, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnx", None)
    done = labelstack("export", ensemble, "--onnx", tmp_path / "e.onnx")
    assert done.exit_code == 2 and "pip install 'labelstack[onnx]'" in done.stderr
