"""Members: their networks' maps are averaged, and who can be explained."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models import predict  # noqa: E402
from base_models.explanation import MemberExplainer, grad_cam, overlay_map  # noqa: E402
from base_models.manifest import load_manifest  # noqa: E402
from base_models.photos.tensors import PhotoTensors  # noqa: E402
from base_models.runs.inference import load_member  # noqa: E402


@pytest.fixture(scope="module")
def source(tiny_photos):
    manifest = load_manifest(tiny_photos, Path())
    return PhotoTensors(manifest, manifest.split_rows("test"), 32)


def pixels_of(source):
    return next(source.iter_batches([np.arange(len(source))]))[1]


def test_maps_and_scores_are_means_over_the_networks(tiny_run, tiny_photos, source):
    state = torch.random.get_rng_state()
    explainer = MemberExplainer(load_member(tiny_run, "whole"))
    assert torch.equal(torch.random.get_rng_state(), state)
    assert (explainer.method, explainer.layer, explainer.size) == ("grad-cam", "layer1", 32)
    rows, columns = np.arange(9), np.tile([4, 0], (9, 1))
    ((places, maps),) = explainer.iter_maps(source, rows, columns)
    each = [grad_cam(network, pixels_of(source), columns) for network in explainer.member.networks]
    assert len(each) == 2 and places.tolist() == rows.tolist()
    np.testing.assert_allclose(maps, (each[0] + each[1]) / 2, atol=1e-6)
    manifest = load_manifest(tiny_photos, Path())
    scored = predict(tiny_run, manifest.select(manifest.split_rows("test")), device="cpu")
    np.testing.assert_allclose(explainer.score(source, rows), scored.model_scores("whole"), atol=1e-6)


def test_who_scores_with_mirror_images_is_explained_with_them(tiny_run, source):
    member = load_member(tiny_run, "whole")
    columns = np.zeros((9, 1), np.int64)
    explainer = MemberExplainer(
        replace(member, networks=member.networks[:1], record=replace(member.record, flip_tta=True))
    )
    ((_, maps),) = explainer.iter_maps(source, np.arange(9), columns)
    pixels, network = pixels_of(source), member.networks[0]
    mirrored = grad_cam(network, pixels.flip(-1), columns)[..., ::-1]
    np.testing.assert_allclose(maps, (grad_cam(network, pixels, columns) + mirrored) / 2, atol=1e-6)


def test_without_a_name_the_best_of_those_with_most_labels_is_taken(tiny_run):
    member = load_member(tiny_run)
    assert member.name == "whole" and len(member.labels) == 6  # specialists answer fewer
    assert load_member(tiny_run, "rare").labels != member.labels


def test_members_without_networks_are_refused(tiny_run, tmp_path):
    with pytest.raises(ValueError, match=r"member must be one of 'whole', 'frequent', 'rare': got 'whol'\. Did you"):
        load_member(tiny_run, "whol")
    with pytest.raises(ValueError, match="'pair' is made of 'frequent' and 'rare'; name one of these"):
        load_member(tiny_run, "pair")
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "failed_members": {"rare": "out of memory"}}))
    with pytest.raises(ValueError, match=r"'rare' failed \(out of memory\); name one of whole, frequent"):
        load_member(run, "rare")


def test_methods_that_do_not_fit_are_refused(tiny_run):
    member = load_member(tiny_run, "whole")
    with pytest.raises(ValueError, match="method must be one of auto, grad-cam, attention: got 'cam'"):
        MemberExplainer(member, "cam")
    with pytest.raises(ValueError, match=r"member 'whole' must have the attention head .* its head is 'linear'"):
        MemberExplainer(member, "attention")


def test_a_picture_is_gray_where_the_map_is_zero_and_warm_where_it_is_one():
    photo = np.random.default_rng(0).integers(0, 256, (40, 40, 3)).astype(np.uint8)
    heat = np.zeros((4, 4), np.float32)
    heat[1, 2] = 1
    before = photo.copy()
    picture = overlay_map(photo, heat).astype(int)
    assert picture.shape == photo.shape and np.array_equal(photo, before)
    assert (picture[25:, :10].max(axis=2) == picture[25:, :10].min(axis=2)).all()
    red, green, _ = picture[14:16, 24:26].reshape(-1, 3).T
    assert (red - green > 60).all()
