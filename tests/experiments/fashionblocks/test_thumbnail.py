"""FashionBlocks must need a CNN: trees on the 8 × 8 thumbnail stay .10 micro-F1 below a small quick one."""

import lightgbm
import numpy as np
import pytest
from PIL import Image

from base_models.manifest import load_manifest
from base_models.recipe.data import DataConfig
from experiments.fashionblocks import synthesize

N_TRAIN = 1200
EPOCHS = 6
BATCH = 16


def best_single_threshold(y_true, y_score):
    """Return the best micro-F1 that any one threshold reaches, the same favor for both sides."""
    order = np.argsort(-y_score, axis=None)
    hits = np.cumsum(y_true.ravel()[order], dtype=np.int64)
    return float(np.max(2 * hits / (np.arange(1, hits.size + 1) + y_true.sum())))


@pytest.fixture(scope="module")
def blocks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("blocks")
    synthesize(folder, n_train=N_TRAIN, n_validation=0, n_test=800, random_state=0)
    config = DataConfig("imaterialist-json", "photos", "train.json", test_annotations="test.json", labels="labels.csv")
    manifest = load_manifest(config, folder)
    photos = np.stack([np.asarray(manifest.read_photo(row)) for row in range(manifest.n_photos)])
    train, test = manifest.split_rows("train"), manifest.split_rows("test")
    return photos[train], manifest.y_true[train], photos[test], manifest.y_true[test]


def thumbnails(photos):
    return np.stack([np.asarray(Image.fromarray(p).resize((8, 8), Image.Resampling.BOX)).ravel() for p in photos])


def thumbnail_scores(x_train, y_train, x_test):
    scores = np.tile(y_train.mean(axis=0), (len(x_test), 1))
    options = {
        "objective": "binary",
        "num_leaves": 15,
        "learning_rate": 0.06,
        "min_data_in_leaf": 20,
        "feature_fraction": 0.3,
        "bagging_fraction": 0.8,
        "bagging_freq": 1,
        "seed": 0,
        "num_threads": 1,
        "deterministic": True,
        "force_row_wise": True,
        "verbose": -1,
    }
    for column in np.flatnonzero(y_train.sum(axis=0) >= 10):
        data = lightgbm.Dataset(x_train, y_train[:, column])
        scores[:, column] = lightgbm.train(options, data, 80).predict(x_test)
    return scores


def network_scores(x_train, y_train, x_test):
    timm = pytest.importorskip("timm")
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    network = timm.create_model("resnet10t", num_classes=y_train.shape[1]).to(memory_format=torch.channels_last)
    rates = torch.from_numpy(y_train.mean(axis=0)).clamp(1e-3, 0.999)
    with torch.no_grad():
        network.get_classifier().bias.copy_(torch.logit(rates))
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3, weight_decay=0.02)
    steps = EPOCHS * (len(x_train) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps, pct_start=0.25)

    def logits(photos):
        pixels = torch.from_numpy(np.ascontiguousarray(photos)).permute(0, 3, 1, 2).float() / 127.5 - 1
        with torch.autocast("cpu", torch.bfloat16):
            return network(pixels.to(memory_format=torch.channels_last)).float()

    for _ in range(EPOCHS):
        order = rng.permutation(len(x_train))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            rows = order[start : start + BATCH]
            photos = x_train[rows][:, :, ::-1] if rng.random() < 0.5 else x_train[rows]
            loss = binary_cross_entropy_with_logits(logits(photos), torch.from_numpy(y_train[rows]).float())
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    network.eval()
    with torch.no_grad():
        return np.concatenate([logits(x_test[i : i + 100]).sigmoid().numpy() for i in range(0, len(x_test), 100)])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_thumbnail_stays_a_tenth_below_a_network(blocks):
    x_train, y_train, x_test, y_test = blocks
    trees = best_single_threshold(y_test, thumbnail_scores(thumbnails(x_train), y_train, thumbnails(x_test)))
    network = best_single_threshold(y_test, network_scores(x_train, y_train, x_test))
    constant = best_single_threshold(y_test, np.tile(y_train.mean(axis=0), (len(y_test), 1)))
    assert trees > constant, "the trees did not learn: the comparison proves nothing"
    assert network > trees + 0.1, f"network {network:.3f}, trees on the thumbnail {trees:.3f}, constant {constant:.3f}"
