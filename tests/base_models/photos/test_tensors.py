"""Photos as tensors: kept or decoded again, the same; unreadable ones reported."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from base_models.manifest import load_manifest  # noqa: E402
from base_models.photos.tensors import PhotoTensors, check_photos  # noqa: E402
from base_models.testing import write_tiny_photos  # noqa: E402


@pytest.fixture
def manifest(tmp_path):
    config = write_tiny_photos(tmp_path, 7, 3)
    (tmp_path / "photo002.png").write_bytes(b"<html>not found</html>")
    return load_manifest(config, Path())


def serve(manifest, **how):
    source = PhotoTensors(manifest, np.arange(1, 9), 24, **how)
    batches = [np.array([3, 0]), np.array([1, 6, 2])]
    return source, [(rows.tolist(), photos) for rows, photos in source.iter_batches(batches)]


def test_kept_streamed_and_parallel_photos_are_the_same(manifest):
    state = torch.get_rng_state()
    kept, first = serve(manifest, cache="memory")
    streamed, second = serve(manifest, cache="none")
    _, third = serve(manifest, cache="none", n_workers=1)
    assert kept.in_memory and not streamed.in_memory
    for left, middle, right in zip(first, second, third, strict=True):
        assert left[0] == middle[0] == right[0]
        assert torch.equal(left[1], middle[1]) and torch.equal(left[1], right[1])
        assert left[1].dtype == torch.uint8 and left[1].shape[1:] == (3, 24, 24)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("cache", ["memory", "none"])
def test_an_unreadable_photo_is_white_and_reported_with_its_reason(manifest, cache):
    source = PhotoTensors(manifest, np.arange(1, 9), 24, cache=cache)
    counts = []
    failures = check_photos(source, counts.append)
    assert list(failures) == [1] and "photo002" in failures[1]
    assert counts[-1] == 8
    ((_, photos),) = source.iter_batches([np.array([1])])
    assert torch.all(photos == 255)


def test_auto_keeps_photos_that_fit(manifest):
    indices = np.arange(len(manifest))
    assert PhotoTensors(manifest, indices, 24, cache_gib=1.0).in_memory
    assert not PhotoTensors(manifest, indices, 24, cache_gib=1e-6).in_memory


@pytest.mark.filterwarnings("ignore:This DataLoader will create")  # on one processor
def test_worker_processes_are_started_once_and_end_with_the_source(manifest):
    def children():  # but those that another test has left to the garbage collector
        return {child.pid for child in multiprocessing.active_children()} - others

    others = set()
    others = children()
    source = PhotoTensors(manifest, np.arange(1, 9), 24, cache="none", n_workers=2)
    batches = [np.array([3, 0]), np.array([1, 6, 2]), np.array([5])]
    first = [photos for _, photos in source.iter_batches(batches)]
    workers = children()
    iterator = source.iter_batches(batches)
    next(iterator)  # given up in the middle, as when memory was too small
    iterator.close()
    again = [photos for _, photos in source.iter_batches(batches[::-1])][::-1]
    assert children() == workers and len(workers) == 2
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    del iterator, source
    assert not workers & children()


def test_two_passes_at_once_do_not_disturb_each_other(manifest):
    source = PhotoTensors(manifest, np.arange(1, 9), 24, cache="none")
    batches = [np.array([row]) for row in range(6)]
    expected = [photos for _, photos in source.iter_batches(batches)]
    pairs = zip(source.iter_batches(batches), source.iter_batches(batches[::-1]), strict=True)
    for place, ((_, forward), (_, backward)) in enumerate(pairs):
        assert torch.equal(forward, expected[place]) and torch.equal(backward, expected[-1 - place])


def test_batches_may_take_the_memory_of_the_pass_before_and_two_passes_never_share_it(manifest):
    source = PhotoTensors(manifest, np.arange(1, 9), 24, cache="memory")
    batches = [np.array([3, 0]), np.array([1, 6, 2]), np.array([4])]
    expected = [photos for _, photos in source.iter_batches(batches)]
    assert len({photos.data_ptr() for photos in expected}) == 3  # nothing is taken where nobody allows it
    for _ in range(2):
        places = []
        for (_, photos), right in zip(source.iter_batches(batches, reuse=True), expected, strict=True):
            assert torch.equal(photos, right)
            places.append(photos.data_ptr())
        assert places[1] == places[2]
    assert next(source.iter_batches(batches, reuse=True))[1].data_ptr() == places[-1]
    source = PhotoTensors(manifest, np.arange(1, 9), 24, cache="memory")
    with torch.inference_mode():  # as scoring goes through them
        scored = [photos.clone() for _, photos in source.iter_batches(batches, reuse=True)]
    trained = [photos.clone() for _, photos in source.iter_batches(batches, reuse=True)]
    for one, two, right in zip(scored, trained, expected, strict=True):
        assert torch.equal(one, right) and torch.equal(two, right)
    pairs = zip(source.iter_batches(batches, reuse=True), source.iter_batches(batches[::-1], reuse=True), strict=True)
    for place, ((_, forward), (_, backward)) in enumerate(pairs):
        assert torch.equal(forward, expected[place]) and torch.equal(backward, expected[-1 - place])


def test_photos_gathered_ahead_or_from_a_device_are_the_same(manifest, monkeypatch):
    from base_models.photos import tensors

    batches = [np.array([3, 0]), np.array([1, 6, 2])]
    source, expected = serve(manifest, cache="memory")
    source.serve("cpu")
    assert source._there is None and not source._gathers_ahead
    monkeypatch.setattr(tensors, "is_cuda", lambda _: True)
    monkeypatch.setattr(tensors, "free_memory", lambda _: 10**9)
    source.serve("cpu")
    assert source._there is not None
    there = [photos for _, photos in source.iter_batches(batches)]
    source.leave_device()
    assert source._there is None and source._gathers_ahead
    gathered = [photos for _, photos in source.iter_batches(batches)]
    little, _ = serve(manifest, cache="memory")
    monkeypatch.setattr(tensors, "free_memory", lambda _: 1000)
    little.serve("cpu")
    assert little._there is None and little._gathers_ahead
    for one, two, (_, three) in zip(there, gathered, expected, strict=True):
        assert torch.equal(one, three) and torch.equal(two, three)
        assert two.stride() == three.stride() == one.stride()
