"""Charts: inert SVG from arrays, the same for the same input, whatever the names and however odd the numbers."""

import sys
from xml.etree import ElementTree

import numpy as np
import pytest

from stacking.report import Figure, Report, Section, render_html
from stacking.report.figures import (
    data_size_figure,
    label_f1_figure,
    ladder_figure,
    leaderboard_figure,
    learning_rate_figure,
    never_predicted_table,
    reliability_figure,
    search_figure,
    threshold_figure,
    training_curves_figure,
    weight_bars_figure,
    weights_figure,
)
from stacking.report.figures.searches import cost_figure
from stacking.report.writing import write_score

NAMES = ["plain", "<script>alert(1)</script>", "cost $x_1$ and $", "a\nb\x00\u202e", "中文 نص", 'on"load=x', "x" * 200]


def texts(svg):
    Figure(svg)  # refuses anything active
    root = ElementTree.fromstring(svg)
    return [element.text or "" for element in root.iter() if element.tag.endswith("text")]


def charts():
    n = len(NAMES)
    values = np.linspace(0.2, 0.8, n)
    grid = np.linspace(0, 1, 11)
    yield leaderboard_figure(NAMES, values, values - 0.01, values + 0.01, kinds=["member"] * n, reference=("<b>", 0.1))
    yield leaderboard_figure(NAMES, values, values - 0.01, values + 0.01, reference=("<b>", 0.19))
    yield ladder_figure(NAMES, [0.1, -0.02, None, 0, 0.3, 0.1, 0.2], 0.2, NAMES[1])
    yield weights_figure(values / values.sum(), NAMES)
    yield weights_figure(np.random.default_rng(0).dirichlet(np.ones(n), size=n).T, NAMES, NAMES)
    yield weight_bars_figure({NAMES[1]: values, NAMES[2]: values[::-1]}, NAMES)
    yield label_f1_figure({NAMES[1]: values, NAMES[2]: values[::-1]}, np.arange(n), NAMES)
    yield threshold_figure(grid, dict.fromkeys(NAMES, grid), tuned={NAMES[1]: 0.4, NAMES[2]: float("nan")})
    yield reliability_figure({NAMES[1]: (grid, np.where(grid > 0.5, np.nan, grid))}, counts=np.arange(11))
    yield reliability_figure({NAMES[1]: (grid, grid)})
    curve = (np.arange(3), np.array([[0.1, 0.2, np.nan], [0.2, 0.3, 0.4]]))
    yield training_curves_figure(
        {
            name: {"training": curve, "validation": curve} if name == NAMES[1] else {"validation": curve}
            for name in NAMES
        },
        metric="micro-F1",
    )
    yield data_size_figure([300, 1000, 3000], [0.3, 0.4, 0.45], [0.29, 0.39, 0.44], [0.31, 0.41, 0.46])
    yield learning_rate_figure(
        np.geomspace(1e-5, 1, 9), np.linspace(0.3, 0.2, 9), np.linspace(0.3, 0.2, 9), {NAMES[1]: 1e-3, NAMES[0]: 2e-3}
    )
    yield search_figure({name: [(15, 0.5), (30, 0.4)] for name in NAMES}, loss="log loss")


TYPE_SIZES = """
[...document.querySelectorAll("svg text")].filter((text) => text.getClientRects().length).map((text) => {
  const matrix = text.getScreenCTM();
  return parseFloat(getComputedStyle(text).fontSize) * Math.hypot(matrix.a, matrix.b);
})
"""


@pytest.mark.parametrize("width", [360, 390, 760, 1280])
def test_type_in_charts_can_be_read_on_every_screen(width, drawn, chromium, tmp_path):
    sections = [Section("s", [Figure(chart, "c") for chart in drawn])]
    page = tmp_path / "page.html"
    page.write_text(render_html(Report("t", sections)), encoding="utf-8")
    assert chromium.open(page, width) == []
    sizes = chromium.evaluate(TYPE_SIZES)
    assert len(sizes) > 100 and min(sizes) >= 10
    assert chromium.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture(scope="module")
def drawn():
    return list(charts())


def test_charts_are_inert_and_show_hostile_names_as_text(drawn):
    for svg in drawn:
        assert texts(svg)
        assert "\u202e" not in svg
        assert "\x00" not in svg
    assert NAMES[1] in texts(drawn[0])
    assert "a\\nb\\x00\\u202e" in texts(drawn[0])


def test_names_are_never_parsed_as_formulas():
    values = np.array([0.5])
    assert "a $x_1$" in texts(leaderboard_figure(["a $x_1$"], values, values, values))


def test_charts_take_the_colors_of_their_page():
    svg = weights_figure([0.5, 0.5], ["a", "b"])
    assert "var(--ink, #22272e)" in svg
    assert "var(--series-1, #2b6a99)" in svg
    assert "<style" not in svg


def test_same_input_gives_the_same_chart(drawn):
    for first, second in zip(drawn[:4], charts(), strict=False):
        assert first == second


def test_drawing_leaves_matplotlib_as_it_was():
    import matplotlib

    before = dict(matplotlib.rcParams)
    weights_figure([0.5, 0.5], ["a", "b"])
    assert dict(matplotlib.rcParams) == before
    assert "matplotlib.pyplot" not in sys.modules or not sys.modules["matplotlib.pyplot"].get_fignums()


def test_scores_and_gains_are_written_beside_their_marks():
    assert ".812" in texts(leaderboard_figure(["a"], [0.8123], [0.8], [0.82]))
    shown = texts(ladder_figure(["one", "two"], [0.1, None], 0.5))
    assert {"+.100", "not measured", ".500", ".600"} <= set(shown)


def test_equal_columns_are_bars_and_different_ones_a_heat_map():
    equal = np.array([[0.25, 0.25], [0.75, 0.75]])
    assert ".75" in texts(weights_figure(equal, ["a", "b"], ["l", "m"]))
    different = np.array([[0.25, 1.0], [0.75, 0.0]])
    assert {"l", "m"} <= set(texts(weights_figure(different, ["a", "b"], ["l", "m"])))


def test_labels_without_positives_do_not_break_the_chart():
    texts(label_f1_figure({"a": [0.1, 0.2]}, [0, 0], ["l", "m"]))


def test_never_predicted_labels_are_listed_most_frequent_first():
    table = never_predicted_table(["a", "b", "c", "d"], [0, 3, 0, 0], [2, 5, 9, 0], method="mean")
    assert [list(row) for row in table.rows] == [["c", 9], ["a", 2]]
    expected = "2 of 3 labels that occur are never predicted by mean; they hold 11 of 16 positives (68.8 %)."
    assert table.caption == expected


def test_counts_on_a_log_axis_are_plain_numbers():
    """Less than a decade: only the ticks between powers of ten are there to be read."""
    written = texts(label_f1_figure({"a": [0.5, 0.6, 0.7]}, [60, 120, 260], list("xyz")))
    assert {"100", "200"} <= set(written)
    assert not any("mathdefault" in text or "times" in text for text in written)
    assert not any("times" in text for text in texts(search_figure({"pso": [[40, 0.5], [90, 0.4]]})))


def test_seconds_on_a_log_axis_are_plain_numbers():
    chart = cost_figure({"greedy": ([0.02], [0.84]), "pso": ([0.19], [0.85])}, score="micro-F1")
    for svg in (str(chart), chart.narrow):
        written = texts(svg)
        assert {"0.05", "0.1"} <= set(written)
        assert not any("math" in text or "times" in text for text in written)


@pytest.mark.parametrize("span", [0.3, 0.03, 0.004, 0.0008, 0.0001])
def test_ticks_of_scores_have_the_digits_that_tell_them_apart(span):
    values = 0.8123 + span * np.linspace(-0.5, 0.5, 3)
    drawn = [
        cost_figure({"greedy": ([0.02, 0.2, 2], values)}, score="micro-F1"),
        leaderboard_figure(["a", "b", "c"], values, values - span, values + span),
        data_size_figure([10, 20, 40], values, values - span, values + span),
        training_curves_figure({"m": {"validation": ([1, 2, 3], [values])}}, metric="micro-F1"),
    ]
    for chart in drawn:
        for svg in (str(chart), chart.narrow):
            ticks = [text for text in texts(svg) if text.startswith(".")]
            if chart is drawn[1]:  # the scores beside the rows
                ticks = ticks[: -len(values)]
            places = np.array(sorted(map(float, ticks)))
            steps = np.diff(places)
            assert len(places) > 1 and steps.min() > 0, ticks
            assert np.allclose(steps, steps[0], rtol=1e-6, atol=1e-12), ticks  # none is rounded away from its place


def test_labels_of_a_heat_map_are_named_where_there_is_room():
    weights, labels = np.random.default_rng(0).dirichlet(np.ones(2), size=60).T, [f"label{k}" for k in range(60)]
    assert set(labels) <= set(texts(weights_figure(weights, ["a", "b"], labels)))
    crowded = texts(weights_figure(weights, ["a" * 30, "b" * 40], labels))
    assert "60 labels" in crowded
    assert "label1" not in crowded


def test_few_labels_have_their_weights_written_in():
    weights = np.array([[0.75, 0.4], [0.25, 0.6]])
    assert {".75", ".40", ".25", ".60"} <= set(texts(weights_figure(weights, ["a", "b"], ["x", "y"])))
    many = np.random.default_rng(0).dirichlet(np.ones(2), size=30).T
    assert not any(text.startswith(".") for text in texts(weights_figure(many, ["a", "b"])))


@pytest.mark.parametrize("value", [0.02, 0.39, 0.6, 1.1])
def test_a_reference_is_a_line_where_it_is_near_and_words_where_it_is_far_on_either_side(value):
    """Where less is better the constant answer lies right of all methods; a line there squeezed the chart."""
    chart = leaderboard_figure(["a", "b"], [0.5, 0.52], [0.4, 0.45], [0.55, 0.56], reference=("constant", value))
    far = value in (0.02, 1.1)
    for svg in (str(chart), chart.narrow):
        written = texts(svg)
        assert (f"(off the scale: constant {write_score(value, 3)})" in written) == far
        assert (f"constant {write_score(value, 3)}" in written) == (not far)


@pytest.mark.parametrize("counts", [[56, 62], [12, 17], [1010, 1290], [30, 45], [7, 8], [300, 800]])
def test_counts_near_each_other_have_numbers_on_their_axis(counts):
    """Where neither a power of ten nor twice or five times one is in view, the axis was bare."""
    chart = label_f1_figure({"a": [0.5, 0.6]}, counts, ["x", "y"])
    for svg in (str(chart), chart.narrow):
        written = [text.replace(",", "") for text in texts(svg) if text.replace(",", "").isdigit()]
        assert 2 <= len(written) == len(set(written)) <= 6, written
