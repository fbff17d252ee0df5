"""Frames in, frames out: answers hold the ids and label names, in the library and the order of what was asked."""

import numpy as np
import pandas as pd
import pytest

import labelstack as ls
from stacking import StackingEnsemble

IDS = [f"p{number:02}" for number in range(60)]
LABELS = ["dress", "red", "hat"]


@pytest.fixture(scope="module")
def truth():
    cells = (np.random.default_rng(0).random((60, 3)) < 0.4).astype(int)
    return pd.DataFrame(cells, index=pd.Index(IDS, name="photo"), columns=LABELS)


@pytest.fixture(scope="module")
def frames(truth):
    rng = np.random.default_rng(1)
    return {
        model: (0.3 + 0.4 * truth + 0.2 * rng.normal(size=truth.shape)).clip(0, 1).astype(np.float32)
        for model in ("cnn", "vit")
    }


@pytest.fixture(scope="module")
def ensemble(frames, truth):
    return StackingEnsemble("greedy").fit(frames, truth)


@pytest.fixture(scope="module")
def answers(ensemble, frames):
    y_score = ensemble.predict_proba(frames, as_frame=False)
    return {"predict_proba": y_score, "predict": y_score >= ensemble.thresholds_}


def shuffled(frames):
    return {
        model: frame.sample(frac=1, random_state=seed).sample(frac=1, axis=1, random_state=seed)
        for seed, (model, frame) in enumerate(frames.items())
    }


def as_polars(frame):
    import polars as pl

    return pl.DataFrame({"photo": list(frame.index)} | {name: frame[name].to_numpy() for name in frame})


def as_arrow(frame):
    import pyarrow as pa

    return pa.table({"photo": list(frame.index)} | {name: frame[name].to_numpy() for name in frame})


def by_id(answer):
    """Bring an answer of any library to one pandas frame in one order."""
    if hasattr(answer, "to_pydict"):
        answer = pd.DataFrame(answer.to_pydict())
    elif not isinstance(answer, pd.DataFrame):
        answer = pd.DataFrame(answer.to_dict(as_series=False))
    answer = answer.set_index("photo") if "photo" in answer else answer
    return answer.loc[IDS, LABELS]


@pytest.mark.parametrize("verb", ["predict", "predict_proba"])
@pytest.mark.parametrize(
    ("make", "library"),
    [
        (lambda frame: frame, "pandas"),
        (lambda frame: frame.reset_index(), "pandas"),
        (as_polars, "polars"),
        (lambda frame: as_polars(frame).lazy(), "polars"),
        (as_arrow, "pyarrow"),
    ],
    ids=["pandas", "ids in a column", "polars", "lazy", "pyarrow"],
)
def test_frames_are_answered_by_frames_of_their_library(ensemble, frames, answers, verb, make, library):
    given = {model: make(frame) for model, frame in shuffled(frames).items()}
    answer = getattr(ensemble, verb)(given)
    assert type(answer).__module__.partition(".")[0] == library
    np.testing.assert_array_equal(by_id(answer), answers[verb])
    if library == "pandas":
        assert list(answer.index) == list(given["cnn"].index)


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_a_library_may_be_asked_for(ensemble, frames, answers, library):
    answer = ensemble.predict(shuffled(frames), as_frame=library)
    assert type(answer).__module__.partition(".")[0] == library
    np.testing.assert_array_equal(by_id(answer), answers["predict"])
    answer = ensemble.predict(ls.load(frames), as_frame=library)
    np.testing.assert_array_equal(by_id(answer), answers["predict"])


def test_arrays_stay_the_default_for_arrays_and_prediction_sets(ensemble, frames, answers):
    array = np.stack([frame.to_numpy() for frame in frames.values()])
    for given in (array, ls.load(frames), list(array)):
        assert type(ensemble.predict(given)) is np.ndarray
        assert type(ensemble.predict_proba(given)) is np.ndarray
        np.testing.assert_array_equal(ensemble.predict(given), answers["predict"])
    assert type(ensemble.predict(frames, as_frame=False)) is np.ndarray
    answer = ensemble.predict(array, as_frame=True)
    assert list(answer.columns) == LABELS and list(answer.index) == list(range(60))


def test_the_verb_answers_by_name_where_there_are_names(ensemble, frames, answers, tmp_path):
    for model, frame in shuffled(frames).items():
        frame.to_csv(tmp_path / f"{model}.csv")
    files = ls.predict(ensemble, str(tmp_path / "*.csv"))
    np.testing.assert_array_equal(files.loc[IDS, LABELS], answers["predict"])
    polars = ls.predict(ensemble, ls.load({model: as_polars(frame) for model, frame in frames.items()}))
    np.testing.assert_array_equal(by_id(polars), answers["predict"])
    array = np.stack([frame.to_numpy() for frame in frames.values()])
    assert type(ls.predict(ensemble, array)) is np.ndarray


def test_names_come_out_as_they_went_in(ensemble, frames, answers):
    numbers = np.arange(100, 160)
    given = {model: frame.set_axis(numbers) for model, frame in frames.items()}
    assert ensemble.predict(given).index.tolist() == numbers.tolist()
    in_a_column = {model: frame.assign(id=numbers).reset_index(drop=True) for model, frame in frames.items()}
    answer = ls.predict(ensemble, in_a_column)
    assert answer["id"].tolist() == numbers.tolist() and answer["id"].dtype.kind == "i"
    dates = pd.date_range("2026-01-01", periods=60, name="day")
    answer = ensemble.predict({model: frame.set_axis(dates) for model, frame in frames.items()})
    assert answer.index.equals(dates) and answer.index.name == "day"
    columns = {model: frame.set_axis([10, 20, 30], axis=1) for model, frame in frames.items()}
    other = StackingEnsemble("mean").fit(columns, (frames["cnn"] > 0.5).astype(int).set_axis([10, 20, 30], axis=1))
    assert other.predict(columns).columns.tolist() == [10, 20, 30]


def test_a_label_that_is_called_as_the_ids_are(frames, truth):
    given = {model: frame.rename(columns={"hat": "id"}) for model, frame in frames.items()}
    ensemble = StackingEnsemble("mean").fit(given, truth.rename(columns={"hat": "id"}))
    answer = ensemble.predict(given, as_frame="polars")
    assert answer.columns == ["photo", "dress", "red", "id"]
    unnamed = {model: frame.rename_axis(None) for model, frame in given.items()}
    assert ensemble.predict(unnamed, as_frame="polars").columns == ["id_", "dress", "red", "id"]


@pytest.mark.parametrize("wrong", ["excel", "numpy"])
def test_other_forms_are_refused(ensemble, frames, wrong):
    with pytest.raises(ValueError, match=rf"as_frame must be True, False, None or one of pandas.*: got '{wrong}'"):
        ensemble.predict(frames, as_frame=wrong)


def test_what_is_no_frame_known_is_refused(ensemble):
    class Odd:
        columns = ("dress",)

    with pytest.raises(TypeError, match=r"must be an array or a data frame that narwhals reads.*Odd"):
        ensemble.predict(Odd())
