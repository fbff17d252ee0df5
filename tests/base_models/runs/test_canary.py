"""The canary: networks that learn random labels by heart must score chance on the rows that they did not see.

Photos of noise, labels of coin tosses. A network that has memorized its training rows knows nothing else, so whatever
scores better than chance in the store `oof` has leaked. Each canary is also scored on its own training rows: one that
could not memorize them would stay silent whatever leaks.
"""

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from base_models.manifest import load_manifest  # noqa: E402
from base_models.networks.network import create_network  # noqa: E402
from base_models.photos.tensors import PhotoTensors  # noqa: E402
from base_models.recipe.data import DataConfig  # noqa: E402
from base_models.recipe.folds import FoldConfig  # noqa: E402
from base_models.recipe.member import MemberConfig  # noqa: E402
from base_models.recipe.run import DerivedMember, TrainingRun  # noqa: E402
from base_models.recipe.training import TrainingConfig  # noqa: E402
from base_models.runs.fold_record import FoldRecord  # noqa: E402
from base_models.runs.inference import load_network  # noqa: E402
from base_models.runs.out_of_fold import run_training  # noqa: E402
from base_models.training.scoring import score_photos  # noqa: E402
from stacking import StackingEnsemble, load_predictions  # noqa: E402
from stacking.files.untrusted import read_npz  # noqa: E402
from stacking.metrics import micro_f1  # noqa: E402

N_PHOTOS, N_TEST, N_LABELS, SIDE = 48, 16, 6, 16
SINGS = 0.95
"""Least AUC on the rows that were learned by heart."""
N_DRAWS = 2000
LUCK = 0.999
"""Share of the random draws that a canary must not exceed: a chance result fails once in a thousand."""


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_the_disk():
    """What a power cut would leave is not asked here, and most of the time would go to it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda _: None)
        yield


def write_noise(folder, *, twins=False, seed=1):
    """Write photos of noise with coin tosses for labels; with `twins`, each photo once more, hardly changed."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(N_PHOTOS + N_TEST):
        if not (twins and i % 2):
            pixels = rng.integers(0, 256, (4, 4, 3))
            labels = "|".join(f"label{k}" for k in np.flatnonzero(rng.random(N_LABELS) < 0.4))
        shown = np.clip(pixels + rng.integers(-3, 4, pixels.shape), 0, 255).astype(np.uint8)
        photo = Image.fromarray(shown).resize((SIDE, SIDE), Image.Resampling.NEAREST)
        photo.save(folder / f"photo{i:03d}.png")
        rows.append([f"photo{i:03d}.png", labels, f"pair{i // 2}", "train" if i < N_PHOTOS else "test"])
    with (folder / "annotations.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["image", "labels", "pair", "split"], *rows])
    return DataConfig("folder", str(folder), split_column="split", group_column="pair" if twins else None)


MEMORY = MemberConfig(
    "memory",
    "scratch-cnn",
    size=SIDE,
    training=TrainingConfig(
        epochs=10, batch_size=6, learning_rate=5e-3, weight_decay=0.0, augmentation="none", keep="last"
    ),
)
FOLDS = FoldConfig(n_folds=2, validation_fraction=0.25)


def trained(member, **changes):
    return replace(member, training=replace(member.training, **changes))


def train(data, out, *members, **changes):
    """Run members on the photos of noise, on one thread."""
    recipe = TrainingRun("canary", data, members, **{"folds": FOLDS, "n_threads": 1, **changes})
    return run_training(recipe, out, device="cpu")


def best_of_chance(judge, y_true, folds):
    """Return what random truth reaches with these scores: the rows of each fold change places, whole."""
    rng = np.random.default_rng(0)
    places = [np.flatnonzero(folds == fold) for fold in np.unique(folds)]
    reached = []
    for _ in range(N_DRAWS):
        mixed = np.arange(len(y_true))
        for rows in places:
            mixed[rows] = rng.permutation(rows)
        reached.append(judge(y_true[mixed]))
    return np.quantile(reached, LUCK)


def auc_of(y_score):
    """Return a judge of truth: the share of (positive, negative) cells that the scores order rightly."""
    known = ~np.isnan(y_score)
    order = np.argsort(np.argsort(y_score[known])) + 1.0  # scores of networks hardly ever tie

    def judge(y_true):
        positive = y_true[known] == 1
        n, m = positive.sum(), (~positive).sum()
        return (order[positive].sum() - n * (n + 1) / 2) / (n * m)

    return judge


def assert_at_chance(oof, model):
    """Require that a model's held-out scores, and decisions made of them, are no better than luck."""
    y_true, y_score = np.asarray(oof.y_true), oof.model_scores(model)
    judge = auc_of(y_score)
    assert judge(y_true) <= best_of_chance(judge, y_true, oof.folds), model
    known = ~np.isnan(y_score)
    decided = np.nan_to_num(y_score) >= np.quantile(y_score[known], 0.6)  # as many as there are positives

    def decisions(truth):
        return 2 * (truth * decided).sum() / ((truth * known).sum() + decided.sum())

    assert decisions(y_true) <= best_of_chance(decisions, y_true, oof.folds), model


def auc_on_own_rows(run, data, name, fold):
    """Score the rows that a network was trained on with its saved weights."""
    manifest, splits = load_manifest(data, Path()), read_npz(run / "splits.npz")
    place = run / "members" / name / f"fold{fold}"
    done = json.loads((place / "done.json").read_text())
    network = load_network(place, FoldRecord.read(place), "cpu")
    own = (splits["split"] == "train") & (splits["fold"] != fold) & ~splits["validation"][:, fold]
    rows = np.array([manifest.ids.tolist().index(name) for name in splits["ids"][own]])
    y_score = score_photos(network, PhotoTensors(manifest, rows, SIDE), np.arange(len(rows)))
    columns = [list(manifest.vocabulary.names).index(label) for label in done["labels"]]
    return roc_auc_score(manifest.y_true[rows][:, columns].ravel(), y_score.ravel())


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    return write_noise(tmp_path_factory.mktemp("noise") / "photos")


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    """Weights of a random body, for features that are computed once."""
    torch.manual_seed(3)
    body = create_network(replace(MEMORY, name="body"), np.full(N_LABELS, 0.5)).body
    path = tmp_path_factory.mktemp("weights") / "body.safetensors"
    save_file({name: value.clone() for name, value in body.state_dict().items()}, path)
    return str(path)


@pytest.fixture(scope="module")
def memory(noise, tmp_path_factory):
    """The plain canary: two folds, one network each."""
    return train(noise, tmp_path_factory.mktemp("memory") / "run", MEMORY)


@pytest.fixture(scope="module")
def canaries(noise, frozen, tmp_path_factory):
    """Every kind of member that has a way of its own to its rows, in one run."""
    features = trained(
        replace(MEMORY, name="features", features="precomputed", weights=frozen, head="mlp", hidden=(256, 128)),
        epochs=30,
    )
    members = (
        trained(replace(MEMORY, name="best"), keep="best", patience=8, ema_decay=0.2),
        trained(replace(MEMORY, name="per-label"), keep="best-per-label"),
        features,
        replace(MEMORY, name="frequent", labels="frequent", split_share=0.5),
        replace(MEMORY, name="rare", labels="rare", split_share=0.5),
    )
    derived = (DerivedMember("pair", ("frequent", "rare")),)
    return train(noise, tmp_path_factory.mktemp("canaries") / "run", *members, derived=derived)


def test_random_labels_learned_by_heart_score_chance_out_of_fold(memory, noise):
    assert_at_chance(load_predictions(memory / "oof"), "memory")
    assert min(auc_on_own_rows(memory, noise, "memory", fold) for fold in range(2)) > SINGS


@pytest.mark.parametrize("name", ["best", "per-label", "features", "frequent", "rare", "pair"])
def test_every_kind_of_member_scores_chance_out_of_fold(name, canaries):
    assert_at_chance(load_predictions(canaries / "oof"), name)


@pytest.mark.parametrize("name", ["features", "frequent", "rare"])
def test_the_same_networks_know_their_own_rows_by_heart(name, canaries, noise):
    assert min(auc_on_own_rows(canaries, noise, name, fold) for fold in range(2)) > SINGS


def test_photos_of_the_test_split_score_chance_too(canaries):
    test = load_predictions(canaries / "test")
    for name in test.models:
        judge = auc_of(test.model_scores(name))
        y_true = np.asarray(test.y_true)
        assert judge(y_true) <= best_of_chance(judge, y_true, np.zeros(len(y_true))), name


@pytest.mark.parametrize("new_photos", ["mean", "refit"])
def test_near_copies_of_one_group_betray_nothing(new_photos, tmp_path):
    """Each photo has a twin with the same labels: only the deal by groups keeps it from the network that scores it."""
    data = write_noise(tmp_path / "photos", twins=True)
    run = train(data, tmp_path / "run", MEMORY, folds=replace(FOLDS, new_photos=new_photos))
    assert_at_chance(load_predictions(run / "oof"), "memory")
    assert auc_on_own_rows(run, data, "memory", 0) > SINGS


def test_near_copies_in_no_group_would_give_the_leak_away(tmp_path):
    data = replace(write_noise(tmp_path / "photos", twins=True), group_column=None)
    run = train(data, tmp_path / "run", MEMORY)
    oof = load_predictions(run / "oof")
    assert roc_auc_score(np.ravel(oof.y_true), oof.model_scores("memory").ravel()) > 0.65


@pytest.mark.parametrize("scheme", ["holdout", "validation-split"])
def test_a_holdout_scores_chance(scheme, noise, tmp_path):
    data, settings = noise, {"holdout_fraction": 0.4}
    if scheme == "validation-split":
        data, settings = write_noise(tmp_path / "photos"), {}
        table = tmp_path / "photos" / "annotations.csv"
        table.write_text(table.read_text().replace(",test", ",validation"))
    folds = FoldConfig(scheme=scheme, validation_fraction=0.25, **settings)
    run = train(data, tmp_path / "run", MEMORY, folds=folds)
    assert_at_chance(load_predictions(run / "oof"), "memory")
    assert auc_on_own_rows(run, data, "memory", 0) > SINGS


def test_an_ensemble_of_canaries_promises_chance_and_a_rematch_adds_nothing(canaries):
    oof, test = load_predictions(canaries / "oof"), load_predictions(canaries / "test")
    ensemble = StackingEnsemble("greedy", n_splits=3).fit(oof)
    frequency = np.asarray(oof.y_true).mean()
    most = 2 * frequency / (1 + frequency)  # of whoever knows the frequency alone
    assert ensemble.report_["cross_fitted_micro_f1"] < most + 0.06
    y_score = ensemble.predict_proba(test)
    for how in ("shift", "per-label"):
        decided = ensemble.decide(y_score, ensemble.rematch(y_score, how))

        def judge(truth, decided=decided):
            return micro_f1(truth, decided)

        truth = np.asarray(test.y_true)
        assert judge(truth) <= best_of_chance(judge, truth, np.zeros(len(truth)))


TRUTH_READERS = {
    "plain": {"keep": "best", "patience": 1, "schedule": "plateau"},
    "weighted": {"class_weights": "effective-number", "keep": "best-per-label"},
    "balanced": {"loss": "distribution-balanced", "ema_decay": 0.5},
    "sampled": {"sampling_alpha": 0.3, "shares": ()},
}
"""Settings that look at the labels: each is a way for those of the held-out rows to get in."""


def test_the_truth_of_held_out_rows_moves_no_bit_of_the_network_that_scores_them(tmp_path, monkeypatch):
    """Counts of labels stay as they are, since they say which labels a specialist covers: rows change places."""
    data = write_noise(tmp_path / "photos")
    short = trained(MEMORY, epochs=4)
    members = [trained(replace(short, name=name), **changes) for name, changes in TRUTH_READERS.items()]
    members.append(replace(short, name="recurrent", head="recurrent"))
    members.append(replace(short, name="rare", labels="rare", split_share=0.5))
    honest = train(data, tmp_path / "honest", *members)
    splits = read_npz(honest / "splits.npz")
    table = tmp_path / "photos" / "annotations.csv"
    with table.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file))
    held = set(splits["ids"][splits["fold"] == 0].tolist())
    places = [i for i, line in enumerate(lines) if line[0].removesuffix(".png") in held]
    moved = [[line[1] for line in lines][i] for i in np.roll(places, 1)]
    for i, labels in zip(places, moved, strict=True):
        lines[i][1] = labels
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    monkeypatch.setattr("base_models.runs.splits._decide_splits", lambda *_: dict(splits))
    lied = train(data, tmp_path / "lied", *members)
    for member in members:
        for fold, same in ((0, True), (1, False)):
            files = [run / "members" / member.name / f"fold{fold}" / "weights.safetensors" for run in (honest, lied)]
            assert (files[0].read_bytes() == files[1].read_bytes()) is same, (member.name, fold)
    found = [load_predictions(run / "oof") for run in (honest, lied)]
    rows = found[0].folds == 0
    assert not np.array_equal(found[0].y_true[rows], found[1].y_true[rows])
    for name in found[0].models:
        scores = [one.model_scores(name) for one in found]
        np.testing.assert_array_equal(scores[0][rows], scores[1][rows])
