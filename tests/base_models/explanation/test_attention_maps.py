"""Attention maps: the head's own weights, and who has them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.explanation import attention_maps  # noqa: E402
from base_models.networks.feature_maps import run_body  # noqa: E402
from base_models.networks.network import create_network  # noqa: E402
from base_models.networks.per_label import LabelwiseNetwork  # noqa: E402
from base_models.photos.transforms import normalize_photos  # noqa: E402
from base_models.recipe.member import MemberConfig  # noqa: E402


def create(head="attention", seed=0):
    torch.manual_seed(seed)
    network = create_network(MemberConfig("m", "scratch-cnn", size=64, head=head), np.full(3, 0.5))
    if head == "attention":
        torch.nn.init.normal_(network.head.score.weight)
    return network


@pytest.fixture
def photos():
    return torch.randint(0, 256, (5, 3, 64, 64), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def test_the_maps_are_the_softmax_of_the_labels_scores(photos):
    network = create().eval()
    asked = np.array([[0, 2], [1, 1], [2, 0], [0, 1], [1, 2]])
    found = attention_maps(network, photos, asked, batch_size=2)
    with torch.no_grad():
        places = run_body(network.body, normalize_photos(photos, network.mean, network.std), "feature_map")[1]
    scores = np.einsum("nchw,lc->nlhw", places.numpy(), network.head.score.weight.detach().numpy())
    powers = np.exp(scores - scores.max(axis=(2, 3), keepdims=True))  # the softmax, divided by its highest value
    np.testing.assert_allclose(found, np.take_along_axis(powers, asked[:, :, None, None], 1), atol=1e-4)
    assert found.shape == (5, 2, 4, 4) and (found.max(axis=(2, 3)) == 1).all()


def test_a_head_that_looks_everywhere_alike_has_maps_of_ones(photos):
    network = create()
    torch.nn.init.zeros_(network.head.score.weight)  # as it starts
    state = torch.random.get_rng_state()
    np.testing.assert_allclose(attention_maps(network, photos, np.arange(3)), 1, atol=1e-6)
    assert network.training and torch.equal(torch.random.get_rng_state(), state)


def test_each_label_looks_as_in_the_network_of_its_epoch(photos):
    parts = {1: create(seed=1), 2: create(seed=2)}
    found = attention_maps(LabelwiseNetwork(parts, [2, 1, 1]), photos, np.arange(3))
    first, second = (attention_maps(part, photos, np.arange(3)) for part in parts.values())
    np.testing.assert_allclose(found, np.stack([second[:, 0], first[:, 1], first[:, 2]], axis=1), atol=1e-6)


def test_other_heads_are_refused(photos):
    with pytest.raises(ValueError, match="must have the attention head for attention maps: it has LinearHead"):
        attention_maps(create("linear"), photos, np.arange(3))
    with pytest.raises(ValueError, match="must have the attention head"):
        attention_maps(LabelwiseNetwork({1: create("linear")}, [1, 1, 1]), photos, np.arange(3))
