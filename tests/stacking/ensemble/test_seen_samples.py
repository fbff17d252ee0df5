import json

import numpy as np

from stacking import PredictionSet, StackingEnsemble
from stacking.ensemble.seen_samples import find_seen, hash_ids
from stacking.testing import make_predictions


def named(predictions, ids):
    return PredictionSet(predictions.to_array(), ids, predictions.models, predictions.labels, y_true=predictions.y_true)


def test_hashes_tell_ids_apart_whatever_their_place():
    ids = [f"photo{number}" for number in range(5000)]
    hashes = hash_ids(ids)
    assert hashes.dtype == np.uint64
    assert len(np.unique(hashes)) == 5000
    np.testing.assert_array_equal(hash_ids(np.array(ids[::-1]))[::-1], hashes)
    assert hash_ids(["7"])[0] == 9407870976149377255  # ensemble folders hold such numbers: they must not change
    assert find_seen(["photo1", "other", "photo9"], hashes[:5]).tolist() == [True, False, False]
    assert find_seen(["photo1"], hashes[:0]).tolist() == [False]


def test_counted_names_identify_nobody_but_a_part_of_them_does():
    counted = [f"sample{number}" for number in range(6)]
    assert not find_seen(counted[:4], np.sort(hash_ids(counted))).any()
    assert find_seen(counted[3:], hash_ids(counted)).all()
    assert find_seen(counted, hash_ids(counted[3:])).tolist() == [False] * 3 + [True] * 3


def test_an_ensemble_remembers_its_samples_in_its_folder(tmp_path):
    predictions = named(make_predictions(n_samples=80), [f"p{number}" for number in range(80)])
    ensemble = StackingEnsemble("mean").fit(predictions)
    ensemble.save(tmp_path / "e")
    again = StackingEnsemble.load(tmp_path / "e")
    assert again.has_seen(["p3", "q3", "p79", "p80"]).tolist() == [True, False, True, False]
    assert again.fingerprint == ensemble.fingerprint
    stored = b"".join(path.read_bytes() for path in (tmp_path / "e").rglob("*") if path.is_file())
    assert b"p79" not in stored


def test_folders_that_do_not_hold_the_samples_still_load(tmp_path):
    predictions = named(make_predictions(n_samples=80), [f"p{number}" for number in range(80)])
    StackingEnsemble("mean").fit(predictions).save(tmp_path / "e")
    path = tmp_path / "e" / "manifest.json"
    manifest = json.loads(path.read_text())
    file = manifest["arrays"].pop("fitted_ids")
    del manifest["sha256"][file]
    path.write_text(json.dumps(manifest))
    old = StackingEnsemble.load(tmp_path / "e")
    assert old.fitted_ids_ is None
    assert not old.has_seen(predictions.ids).any()
    old.save(tmp_path / "again")
    assert StackingEnsemble.load(tmp_path / "again").fitted_ids_ is None
