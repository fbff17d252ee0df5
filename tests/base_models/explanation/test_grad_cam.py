"""Grad-CAM: the published formula by finite differences, no trace left behind, every head, and a meaning."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from base_models.explanation import enlarge_map, explained_layer, grad_cam  # noqa: E402
from base_models.networks.heads import LinearHead  # noqa: E402
from base_models.networks.network import MultilabelNetwork, create_network  # noqa: E402
from base_models.networks.per_label import LabelwiseNetwork  # noqa: E402
from base_models.photos.transforms import normalize_photos  # noqa: E402
from base_models.recipe.member import MemberConfig  # noqa: E402

SIDE, MARK = 32, 8
COLORS = np.array([(255, 60, 60), (60, 220, 255)], np.uint8)


def create(network="test_resnet", size=64, head="linear", seed=0, n_labels=3):
    torch.manual_seed(seed)
    return create_network(MemberConfig("m", network, size=size, head=head, hidden=(16,)), np.full(n_labels, 0.5))


def draw_photos(n_photos=3, size=64, seed=0):
    values = np.random.default_rng(seed).integers(0, 256, (n_photos, 3, size, size))
    return torch.from_numpy(values.astype(np.uint8))


class SmoothBody(nn.Module):
    """A body without kinks, so that finite differences are exact enough."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, stride=2, padding=1), nn.Conv2d(4, 5, 3, padding=1)
        self.num_features = 5
        self.feature_info = [{"module": "first", "num_chs": 4}, {"module": "second", "num_chs": 5}]

    def tail(self, features):
        return torch.tanh(self.second(torch.sigmoid(features))).square().mean(dim=(2, 3))

    def forward(self, photos):
        return self.tail(self.first(photos))


def test_the_maps_are_those_of_the_published_formula():
    torch.manual_seed(3)
    network = MultilabelNetwork(SmoothBody(), LinearHead(5, 2)).eval()
    nn.init.normal_(network.head.weight)
    photos = draw_photos(2, 12)
    found = grad_cam(network, photos, np.arange(2), layer="first")
    with torch.no_grad():
        features = network.body.first(normalize_photos(photos, network.mean, network.std)).double()  # A, (2, 4, 6, 6)
        network.double()

        def logits(changed):
            return functional.linear(network.body.tail(changed), network.head.weight, network.head.bias)

        step, gradient = 1e-5, torch.zeros(2, *features.shape, dtype=torch.float64)  # by label
        for k, i, j in np.ndindex(4, 6, 6):
            up, down = features.clone(), features.clone()
            up[:, k, i, j] += step
            down[:, k, i, j] -= step
            gradient[:, :, k, i, j] = ((logits(up) - logits(down)) / (2 * step)).T
    alpha = gradient.mean(dim=(3, 4))  # equation 1
    expected = torch.relu(torch.einsum("lnk,nkij->nlij", alpha, features)).numpy()  # equation 2
    assert (expected.max(axis=(2, 3)) > 0).all()
    np.testing.assert_allclose(found, expected / expected.max(axis=(2, 3), keepdims=True), atol=1e-4)


def test_each_photo_may_ask_for_labels_of_its_own_and_batches_do_not_matter():
    network, photos = create(), draw_photos(5)
    every = grad_cam(network, photos, np.arange(3))
    assert every.shape == (5, 3, 8, 8) and every.dtype == np.float32
    assert every.min() >= 0 and every.max() == 1
    own = np.array([[2, 0], [1, 1], [0, 2], [2, 1], [0, 0]])
    np.testing.assert_allclose(
        grad_cam(network, photos, own, batch_size=2), np.take_along_axis(every, own[:, :, None, None], 1), atol=1e-5
    )


def test_nothing_is_left_behind():
    network = create("scratch-cnn", head="mlp")
    network.freeze_body(1.0)
    network.train()  # the frozen body stays in evaluation mode
    modes = {name: part.training for name, part in network.named_modules()}
    assert len(set(modes.values())) == 2
    before = {name: value.clone() for name, value in network.state_dict().items()}
    state, photos = torch.random.get_rng_state(), draw_photos()
    found = grad_cam(network, photos, np.arange(3))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert {name: part.training for name, part in network.named_modules()} == modes
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(part._forward_hooks for part in network.modules())
    np.testing.assert_array_equal(grad_cam(network, photos, np.arange(3)), found)


@pytest.mark.parametrize("head", ["linear", "attention", "wide", "recurrent", "auxiliary", "mlp"])
def test_every_head_is_explained(head):
    network = create(head=head).eval()
    found = grad_cam(network, draw_photos(), np.array([2, 0]))
    assert found.shape == (3, 2, 8, 8) and found.max() == 1
    assert not np.array_equal(found[:, 0], found[:, 1])


@pytest.mark.parametrize(
    ("network", "size", "layer", "shape"),
    [
        ("test_resnet", 224, "layer4", (7, 7)),  # large photos: the last map, as published
        ("test_resnet", 64, "layer2", (8, 8)),
        ("test_mambaout", 64, "stages.1", (8, 8)),  # channels last
        ("test_vit2", 64, "blocks.7", (4, 4)),  # tokens, their mean pooled
        ("test_vit", 160, "blocks.4", (10, 10)),  # a class token is pooled: the last of 6 blocks knows no places
    ],
)
def test_the_layer_is_the_deepest_that_knows_places(network, size, layer, shape):
    made = create(network, size)
    found = grad_cam(made, draw_photos(1, size), np.arange(3))
    assert explained_layer(made.body, size) == layer and found.shape[2:] == shape and found.max() == 1


def test_each_label_is_explained_by_the_network_of_its_epoch():
    parts, photos = {2: create(seed=1), 5: create(seed=2)}, draw_photos(4)
    network = LabelwiseNetwork(parts, [5, 2, 5])
    every = {epoch: grad_cam(part, photos, np.arange(3)) for epoch, part in parts.items()}
    asked = np.array([[0, 1], [1, 2], [2, 0], [1, 1]])
    found = grad_cam(network, photos, asked)
    for row, columns in enumerate(asked):
        for place, column in enumerate(columns):
            expected = every[network.label_epochs[column]][row, column]
            np.testing.assert_allclose(found[row, place], expected, atol=1e-5)


def test_what_cannot_be_explained_is_refused():
    network, photos = create(), draw_photos(2)
    with pytest.raises(ValueError, match=r"labels must lie in 0 … 2: got 0 … 3"):
        grad_cam(network, photos, np.array([0, 3]))
    with pytest.raises(ValueError, match=r"labels must be whole numbers of shape \(n_asked,\) or \(2, n_asked\)"):
        grad_cam(network, photos, np.zeros((3, 1), np.int64))
    with pytest.raises(ValueError, match="layer must be one of act1, layer1, layer2, layer3, layer4: got 'layer9'"):
        grad_cam(network, photos, np.array([0]), layer="layer9")
    network.body.feature_info = []
    with pytest.raises(ValueError, match="ResNet names none; explain another member"):
        grad_cam(network, photos, np.array([0]))
    assert grad_cam(create(), photos[:0], np.array([0])).shape[:2] == (0, 1)


def draw_marks(n_photos, seed, both=False):
    """Draw noise with up to two marks of different colors, and where each is; a mark is a label."""
    rng = np.random.default_rng(seed)
    photos = rng.integers(60, 140, (n_photos, 3, SIDE, SIDE)).astype(np.uint8)
    y_true = np.ones((n_photos, 2), np.uint8) if both else rng.integers(0, 2, (n_photos, 2)).astype(np.uint8)
    inside = np.zeros((n_photos, 2, SIDE, SIDE), bool)
    for row, label in np.argwhere(y_true):
        top, left = rng.integers(0, SIDE - MARK), rng.integers(0, SIDE // 2 - MARK) + SIDE // 2 * ((row + label) % 2)
        inside[row, label, top : top + MARK, left : left + MARK] = True
        photos[row][:, inside[row, label]] = COLORS[label][:, None]
    return torch.from_numpy(photos), y_true, inside


def shares_of_mass(network, photos, inside):
    """Return the share of the maps that lies in the label's mark, and that share of what lies in either mark."""
    maps = grad_cam(network, photos, np.arange(2))
    large = np.stack([[enlarge_map(heat, SIDE) for heat in of_photo] for of_photo in maps])
    own, other = (large * inside).sum(), (large * inside[:, ::-1]).sum()
    return own / max(large.sum(), 1e-9), own / max(own + other, 1e-9)


def test_a_trained_network_looks_at_the_label_and_an_untrained_one_does_not():
    """The sanity check of J. Adebayo et al., NeurIPS 2018: maps must depend on what the network has learned."""
    network = create("scratch-cnn", SIDE, n_labels=2)
    photos, y_true, _ = draw_marks(200, 0)
    target = torch.from_numpy(y_true).float()
    optimizer = torch.optim.AdamW(network.parameters(), 5e-3)
    network.train()
    for _ in range(5):
        for rows in torch.randperm(200).split(20):
            logits = network(normalize_photos(photos[rows], network.mean, network.std))
            optimizer.zero_grad()
            functional.binary_cross_entropy_with_logits(logits, target[rows]).backward()
            optimizer.step()
    shown, _, inside = draw_marks(24, 1, both=True)
    share, split = shares_of_mass(network, shown, inside)
    area = (MARK / SIDE) ** 2
    assert share > 5 * area and split > 0.95
    untrained = [shares_of_mass(create("scratch-cnn", SIDE, seed=seed, n_labels=2), shown, inside) for seed in range(4)]
    share, split = np.mean(untrained, axis=0)
    assert share < 4 * area and split < 0.75
