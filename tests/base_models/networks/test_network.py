"""Networks: names, sizes, heads, freezing, the hub without a network."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import timm  # noqa: E402

from base_models.networks import hub  # noqa: E402
from base_models.networks.frozen_layers import freeze_layers  # noqa: E402
from base_models.networks.network import create_network  # noqa: E402
from base_models.recipe.member import MemberConfig  # noqa: E402

RATES = np.array([0.5, 0.1, 0.9, 0.0])


def member(network="test_resnet", **changes):
    return MemberConfig("m", network, **{"size": 32, **changes})


def test_an_untrained_network_answers_the_base_rates():
    network = create_network(member(), RATES).eval()
    with torch.no_grad():
        scores = torch.sigmoid(network(torch.zeros(2, 3, 32, 32)))
    assert scores.shape == (2, 4) and scores.dtype == torch.float32
    np.testing.assert_allclose(scores.numpy(), np.tile(np.clip(RATES, 1e-4, 1), (2, 1)), atol=0.05)


@pytest.mark.parametrize(
    ("name", "size", "mean"),
    [("mobilenetv1_100", 32, 0.5), ("resnet50", 32, 0.485), ("inception_v3", 80, 0.5), ("legacy_xception", 64, 0.5)],
)
def test_each_family_works_small_and_keeps_its_own_normalization(name, size, mean):
    network = create_network(member(name, size=size), RATES).train()
    assert network(torch.rand(2, 3, size, size)).shape == (2, 4)
    assert network.mean[0] == pytest.approx(mean)


def test_bfloat16_bodies_give_float32_logits():
    network = create_network(member(), RATES)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert network(torch.zeros(2, 3, 32, 32)).dtype == torch.float32


def test_a_frozen_body_keeps_weights_and_statistics():
    network = create_network(member(), RATES)
    network.freeze_body(1.0)
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    network(torch.rand(4, 3, 32, 32)).sum().backward()
    optimizer.step()
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"head.weight", "head.bias"}
    network.freeze_body(0.0)
    assert network.train().body.training


@pytest.mark.parametrize(("name", "first", "last"), [("test_resnet", "layer1", "layer4"), ("scratch-cnn", "0", "3")])
def test_a_half_frozen_body_learns_next_to_the_head_only(name, first, last):
    network = create_network(member(name), RATES)
    network.freeze_body(0.5)
    network.train()
    before = {key: value.clone() for key, value in network.body.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1)
    network(torch.rand(4, 3, 32, 32)).sum().backward()
    optimizer.step()
    changed = {key for key, value in network.body.state_dict().items() if not torch.equal(value, before[key])}
    parts = {part for key in changed for part in key.split(".")}
    assert last in parts
    assert "running_mean" in parts  # what learns also keeps its statistics
    assert not any(key.startswith((f"{first}.", f"blocks.{first}.", "conv1", "bn1")) for key in changed)


def test_a_part_can_only_be_frozen_where_layers_are_ordered():
    body = torch.nn.Linear(2, 2)
    freeze_layers(body, 1.0)
    with pytest.raises(ValueError, match="frozen_share must be 0 or 1 for Linear"):
        freeze_layers(body, 0.5)


def test_an_unknown_network_gets_a_hint():
    with pytest.raises(ValueError, match=r"member 'm' must be a timm name: got 'resnet5'; did you mean 'resnet50"):
        create_network(member("resnet5"), RATES)


def test_a_size_that_the_network_cannot_take_is_refused():
    with pytest.raises(ValueError, match="size of member 'm' must suit inception_v3: 32 pixels fail"):
        create_network(member("inception_v3"), RATES)


def test_the_hub_without_a_network_is_one_sentence(monkeypatch):
    def offline(name, pretrained=False, **options):
        raise OSError("no route to host") if pretrained else AssertionError("must ask for weights")

    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setattr(hub, "hub_is_reachable", lambda: False)
    with pytest.raises(
        ValueError, match=r"weights 'hub' of member 'm' must be downloaded: .*; go online once, or set"
    ) as error:
        create_network(member(weights="hub"), RATES)
    assert "\n" not in str(error.value)


def test_weights_of_the_hub_are_recorded_by_their_hash(monkeypatch):
    made = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False, **options: made(name, **options))
    monkeypatch.setattr(hub, "hub_is_reachable", lambda: True)
    hashes = set()
    for seed in (1, 2, 1):
        torch.manual_seed(seed)
        started = create_network(member(weights="hub"), RATES).starting_weights
        assert started["source"] == "hub"
        hashes.add(started["tensors_sha256"])
    assert len(hashes) == 2 and {len(found) for found in hashes} == {64}
