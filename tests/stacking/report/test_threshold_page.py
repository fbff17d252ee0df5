"""The page of thresholds in a browser: its counts are Python's, and its file is read again."""

import numpy as np
import pytest

from stacking.decision_rules import apply_thresholds
from stacking.decision_rules.threshold_file import read_thresholds
from stacking.metrics import macro_f1, micro_f1
from stacking.metrics.counts import DecisionCounts
from stacking.metrics.cut_tables import tabulate_cuts
from stacking.report.threshold_page import BANDS, ThresholdPage, frequency_bands, render_threshold_page
from stacking.truth import Truth

LABELS = [
    "plain",
    "</script><script>alert(1)</script>",
    "__proto__",
    'quote"s',
    "中文",
    "a\u202eb",
    "nul\x00",
    "zero",
    "one",
]
COLUMNS = ("precision", "recall", "micro", "macro", "tp", "fp", "fn")
TOTALS = """Object.fromEntries([...document.querySelectorAll("#totals tbody tr")].map((row) =>
  [row.cells[0].textContent, [...row.cells].slice(1).map((cell) => Number(cell.dataset.v))]))"""
MOVE = """(() => {{
  const input = document.querySelectorAll("{} input[type=range]")[{}];
  input.value = {};
  input.dispatchEvent(new Event("input", {{ bubbles: true }}));
}})()"""


@pytest.fixture(params=["plain", "weighted and partly unknown", "many rows"])
def held_out(request, rng):
    n = 4000 if request.param == "many rows" else 250
    score = (rng.random((n, len(LABELS))) ** 2).astype(np.float32)
    y_true = (rng.random(score.shape) < score * np.linspace(1, 0.2, len(LABELS))).astype(np.uint8)
    y_true[:, LABELS.index("zero")] = 0
    limits = np.array([0.5, 0.3, 0.7, np.inf, 0.2, 0.9, 0.4, 0.6, 0.55])
    facts = {}
    if request.param.startswith("weighted"):
        facts = {"y_known": rng.random(score.shape) < 0.8, "sample_weight": rng.integers(0, 5, n)}
    return score, Truth.check(y_true, **facts), limits


def expected(score, truth, limits, labels):
    counts = DecisionCounts.count(apply_thresholds(score, limits), truth)
    found, predicted = (
        values[labels].sum() / truth.mean_weight for values in (counts.label_hits, counts.label_predicted)
    )
    positive = truth.positives()[labels].sum()
    f1 = counts.f1_per_label(truth)[labels].mean()
    rates = found / predicted if predicted else np.nan, found / positive, 2 * found / (predicted + positive)
    return [*rates, f1, found, predicted - found, positive - found]


def test_counts_equal_pythons_wherever_the_sliders_stand(held_out, chromium, tmp_path):
    score, truth, limits = held_out
    page = tmp_path / "thresholds.html"
    text = render_threshold_page(ThresholdPage("mean", LABELS, tabulate_cuts(score, truth, limits), len(score)))
    page.write_text(text, encoding="utf-8")
    assert chromium.open(page) == []
    bands = frequency_bands(truth.positives())
    groups = {"all": np.arange(len(LABELS)), **{name: np.flatnonzero(bands == band) for band, name in enumerate(BANDS)}}
    seen = []
    for moves in (
        [],
        [("#groups", 0, 1.5)],
        [("#groups", 2, -2.5)],
        [("#labels", 3, 4), ("#groups", 0, -6)],
        [("#groups", 0, 6)],
    ):
        for move in moves:
            chromium.evaluate(MOVE.format(*move))
        (tmp_path / "t.json").write_text(chromium.evaluate("document.getElementById('file').value"), "utf-8")
        now = read_thresholds(tmp_path / "t.json", LABELS)
        totals = chromium.evaluate(TOTALS)
        for name, labels in groups.items():
            shown = np.array(totals[name], float)  # a rate without a denominator comes as None
            np.testing.assert_allclose(shown, expected(score, truth, now, labels), atol=1e-9)
        decided = apply_thresholds(score, now)
        facts = {"y_known": truth.y_known, "sample_weight": truth.sample_weight}
        assert totals["all"][2] == pytest.approx(micro_f1(truth.y_true, decided, **facts))
        assert totals["all"][3] == pytest.approx(macro_f1(truth.y_true, decided, **facts))
        seen.append(now)
    counted = DecisionCounts.count(apply_thresholds(score, limits), truth)
    first = DecisionCounts.count(apply_thresholds(score, seen[0]), truth)
    np.testing.assert_array_equal(first.label_predicted, counted.label_predicted)
    assert (seen[1] >= seen[0]).all() and (seen[1] > seen[0]).any()  # to the right is precision
    middle = groups["middle"]
    assert (seen[2][middle] <= seen[1][middle]).all()
    np.testing.assert_array_equal(np.delete(seen[2], middle), np.delete(seen[1], middle))
    chromium.evaluate("document.getElementById('reset').click()")
    np.testing.assert_allclose(
        chromium.evaluate(TOTALS)["all"], expected(score, truth, limits, groups["all"]), atol=1e-9
    )


def test_the_page_is_used_without_a_mouse_and_on_a_phone(held_out, chromium, tmp_path):
    score, truth, limits = held_out
    page = tmp_path / "thresholds.html"
    cuts = tabulate_cuts(score, truth, limits)
    page.write_text(render_threshold_page(ThresholdPage("mean", LABELS, cuts, len(score), ["a note"])), "utf-8")
    assert chromium.open(page, 390) == []
    assert chromium.evaluate("document.documentElement.scrollWidth") == 390
    named = chromium.evaluate("[...document.querySelectorAll('.control .name')].map((name) => name.textContent)")
    assert {"all labels", "rare labels", "</script><script>alert(1)</script>", "a\\u202eb"} <= set(named)
    before = chromium.evaluate(TOTALS)["all"][4]
    chromium.evaluate("document.querySelector('#groups input').focus()")
    chromium.press("Home")  # everything is predicted
    found = chromium.evaluate(TOTALS)["all"]
    assert found[4] > before and found[1] > 0.85
    spoken = chromium.evaluate("document.querySelector('#groups input').getAttribute('aria-valuetext')")
    assert spoken.startswith("−6.00")
    chromium.evaluate("document.getElementById('filter').value = 'PLAIN'")
    chromium.evaluate("document.getElementById('filter').dispatchEvent(new Event('input'))")
    assert chromium.evaluate("document.querySelectorAll('#labels li').length") == 1
    chromium.evaluate("document.getElementById('copy').click()")
    said = chromium.evaluate(
        "new Promise((done) => setTimeout(() => done(document.getElementById('copied').textContent), 200))"
    )
    assert said.startswith(("Copied", "Selected"))


def test_pages_are_small_and_hold_what_they_show_only_as_text(rng):
    n_labels = 228
    score = rng.random((2000, n_labels)).astype(np.float32)
    truth = Truth.check((rng.random(score.shape) < score).astype(np.uint8))
    names = [*LABELS, *(f"label {i}" for i in range(n_labels - len(LABELS)))]
    text = render_threshold_page(ThresholdPage("x", names, tabulate_cuts(score, truth, np.full(n_labels, 0.5)), 2000))
    assert len(text) < 850_000
    assert text.count("<script") == 2 and "alert(1)</script>" not in text
    assert "default-src 'none'; script-src 'sha256-" in text and "http" not in text.replace("http-equiv", "")
