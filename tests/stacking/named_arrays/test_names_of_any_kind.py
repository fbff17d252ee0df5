"""An index may hold anything: its names decide, and come out as they went in; they are never dropped for positions."""

import numpy as np
import pandas as pd
import pytest

import labelstack as ls
from stacking.named_arrays import AxisNames

N = 30
RNG = np.random.default_rng(0)
TRUTH = (RNG.random((N, 3)) < 0.4).astype(int)
SCORES = np.clip(0.6 * TRUTH + 0.4 * RNG.random((2, N, 3)), 0, 1)
INDEXES = {
    "days": pd.date_range("2026-01-01", periods=N),
    "hours": pd.date_range("2026-01-01", periods=N, freq="h"),
    "time zone": pd.date_range("2026-01-01", periods=N, tz="Europe/Berlin"),
    "periods": pd.period_range("2026-01", periods=N, freq="M"),
    "spans": pd.timedelta_range("1h", periods=N, freq="h"),
    "intervals": pd.interval_range(0, N),
    "whole floats": pd.Index(np.arange(N) + 7.0),
    "fractions": pd.Index(np.arange(N) / 8 + 0.1),
    "two levels": pd.MultiIndex.from_arrays([np.arange(N) // 4, np.arange(N) % 4], names=["patient", "view"]),
    "bytes": pd.Index([f"r{row}".encode() for row in range(N)]),
    "categories": pd.CategoricalIndex([f"r{row}" for row in range(N)]),
    "large numbers": pd.Index(2**63 + np.arange(N, dtype=np.uint64)),
    "mixed": pd.Index([pd.Timestamp("2026-01-01"), 1, "x", *range(100, N + 97)], dtype=object),
}


def frames(index, values=SCORES):
    return {
        model: pd.DataFrame(matrix, index=index, columns=list("abc"))
        for model, matrix in zip("mn", values, strict=True)
    }


@pytest.mark.parametrize("kind", INDEXES)
def test_rows_go_by_their_names_whatever_these_are(kind):
    index = INDEXES[kind].rename("key") if INDEXES[kind].nlevels == 1 else INDEXES[kind]
    given = frames(index)
    turned = {"m": given["m"], "n": given["n"].iloc[::-1]}
    truth = pd.DataFrame(TRUTH, index=index, columns=list("abc")).sample(frac=1, random_state=1)
    groups = pd.Series(np.arange(N), index=index).iloc[::-1]
    loaded = ls.load(turned, truth=truth, groups=groups)
    np.testing.assert_array_equal(loaded.to_array(), SCORES.astype(np.float32))
    for found in (loaded, ls.load(turned).with_truth(truth), ls.load(ls.load(given), truth=truth)):
        np.testing.assert_array_equal(found.y_true, TRUTH)
    assert loaded.groups.tolist() == list(range(N))
    assert len(set(loaded.ids)) == N and not loaded.ids[0].startswith("sample")
    fitted = ls.fit(loaded, "mean")
    answered = ls.predict(fitted, turned).index
    assert answered.tolist() == index.tolist() and list(answered.names) == list(index.names)
    with pytest.raises(ValueError, match="has not seen"):
        ls.evaluate(fitted, given, truth=truth)


def test_columns_of_dates_are_ids_too():
    days = INDEXES["days"]
    given = {model: frame.rename_axis("day").reset_index() for model, frame in frames(days).items()}
    truth = pd.DataFrame(TRUTH, index=days.strftime("%Y-%m-%d"), columns=list("abc")).iloc[::-1]
    assert ls.load(given, truth=truth).y_true.tolist() == TRUTH.tolist()
    answer = ls.predict(ls.fit(given, "mean", truth=truth), given)
    assert list(answer) == ["day", "a", "b", "c"] and answer["day"].tolist() == days.tolist()


@pytest.mark.parametrize("missing", [None, float("nan"), pd.NA, pd.NaT])
def test_a_missing_value_names_nothing(missing):
    names = pd.Index([missing, *(f"r{row}" for row in range(1, N))], dtype=object)
    with pytest.raises(ValueError, match=r"ids must be text, integers or dates: got a missing value .* at position 0"):
        ls.load(frames(names))
    with pytest.raises(ValueError, match="labels must be text, integers or dates: got a missing value"):
        ls.load({"m": pd.DataFrame(SCORES[0], columns=pd.Index([missing, "b", "c"], dtype=object))})
    assert AxisNames.of(names).names[0] is None


@pytest.mark.parametrize(
    ("one", "other", "difference"),
    [("é", "e\u0301", "how accents are written"), ("a ", "a", "spaces around them"), ("A", "a", "capital letters")],
)
def test_names_that_look_alike_are_told_apart_in_words(one, other, difference):
    rows = [[one, *(f"r{row}" for row in range(1, N))], [other, *(f"r{row}" for row in range(1, N))]]
    with pytest.raises(ValueError, match=f"differ by {difference}"):
        ls.load({"m": frames(rows[0])["m"], "n": frames(rows[1])["n"]})
    columns = [pd.DataFrame(SCORES[0], columns=[name, "b", "c"]) for name in (one, other)]
    with pytest.warns(UserWarning, match=f"differ by {difference}"):
        ls.load(columns)
