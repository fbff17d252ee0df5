"""What results show of themselves in a notebook: small, escaped, self-contained; and their charts as figures."""

import pickle
import re
import sys
from html.parser import HTMLParser

import numpy as np
import pandas as pd
import pytest

import labelstack as ls
from experiments import live_progress
from stacking.report.figures import draw_figure, search_figure

HOSTILE = ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "a\u202eb", "{{ 7 * 7 }}", "tail & co"]


class Tags(HTMLParser):
    """Collect tags and attributes, and check that every tag is closed."""

    def __init__(self):
        super().__init__()
        self.tags, self.attributes, self.open = set(), {}, []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(attrs)
        self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def scores():
    rng = np.random.default_rng(0)
    y_true = pd.DataFrame(rng.integers(0, 2, (150, 5)), index=[f"p{row}" for row in range(150)], columns=HOSTILE)
    frames = {
        name: (0.3 + 0.35 * y_true + noise * rng.normal(size=y_true.shape)).clip(0, 1)
        for name, noise in (("vit", 0.2), (HOSTILE[0], 0.25), (HOSTILE[1], 0.3))
    }
    return ls.load(frames, truth=y_true)


@pytest.fixture(scope="module")
def results(scores):
    first, last = scores.subset(samples=slice(0, 90)), scores.subset(samples=slice(90, 150))
    comparison, ensemble = ls.compare(scores, ["mean", "logistic"], n_bootstrap=30), ls.fit(first, "logistic")
    evaluation = ls.evaluate(ensemble, last, n_bootstrap=30)
    return {
        "comparison": comparison,
        "ensemble": ensemble,
        "what was chosen": ensemble.report_,
        "report": comparison.report(),
        "evaluation": evaluation,
        "prediction set": scores,
        "without truth": ls.load(scores.to_array()),
        "weight study": ls.study_weights(scores, ["greedy"], n_bootstrap=30),
    }


NAMES = [
    "comparison",
    "ensemble",
    "what was chosen",
    "report",
    "evaluation",
    "prediction set",
    "without truth",
    "weight study",
]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_shown_is_small_and_inert(results, name):
    page = results[name]._repr_html_()
    assert len(page) < 12_000
    found = Tags()
    found.feed(page)
    assert not found.open
    assert found.tags <= {"div", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(found.attributes) <= {"style"}
    assert not re.search(r"https?:|url\(|#[0-9a-f]{3}|rgb", page)  # nothing is loaded, and no color is ours
    assert "\u202e" not in page  # turns the reading direction


def test_foreign_names_are_shown_as_they_are(results):
    page = results["comparison"]._repr_html_()
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page and "<script" not in page
    page = results["prediction set"]._repr_html_()
    assert "{{ 7 * 7 }}" in page and "tail &amp; co" in page


def test_what_is_shown_says_what_was_found(results):
    page = results["comparison"]._repr_html_()
    assert results["comparison"].verdict().split(" scores")[0] in page
    assert "labelstack.report(result, folder)" in page
    assert "Ensemble of 3 models for 5 labels" in results["ensemble"]._repr_html_()
    assert results["ensemble"]._repr_mimebundle_()["text/html"] == results["ensemble"]._repr_html_()
    assert "Truth: 2." in results["prediction set"]._repr_html_()
    assert "give it as truth=" in results["without truth"]._repr_html_()
    assert results["evaluation"].verdict().split(" (")[0] in results["evaluation"]._repr_html_()


def test_a_comparison_by_another_metric_is_not_shown_as_micro_f1(scores):
    page = ls.compare(scores, ["mean"], n_bootstrap=30, metric="log-loss")._repr_html_()
    assert ">log loss<" in page and ">micro-F1<" not in page


def test_one_of_a_kind_is_written_in_the_singular():
    one = ls.load(np.full((1, 1, 1), 0.5, np.float32))
    assert "Scores of 1 model: 1 sample, 1 label<" in one._repr_html_()


def test_an_ensemble_before_its_fit_is_shown_as_scikit_learn_shows_it():
    assert "StackingEnsemble" in ls.StackingEnsemble()._repr_html_()
    assert set(ls.StackingEnsemble()._repr_mimebundle_()) == {"text/plain", "text/html"}


def test_a_large_set_is_not_read_to_be_shown():
    wide = ls.load(np.zeros((20, 3, 50), np.float32))
    page = wide._repr_html_()
    assert "8 more models." in page and "and 42 more" in page
    assert page.count("<tr") == 13


@pytest.mark.parametrize("chart", ["leaderboard", "gain", "labels", "thresholds", "reliability"])
def test_charts_of_a_comparison_are_figures(results, chart):
    figure = results["comparison"].plot(chart)
    assert isinstance(figure, pytest.importorskip("matplotlib.figure").Figure)
    assert figure.axes and figure._repr_png_().startswith(b"\x89PNG")


def test_charts_of_an_evaluation_are_figures(results, tmp_path):
    for chart in ("labels", "thresholds", "reliability"):
        results["evaluation"].plot(chart).savefig(tmp_path / f"{chart}.png")
        assert (tmp_path / f"{chart}.png").stat().st_size > 5000
    assert results["evaluation"].plot("labels").axes[0].get_ylabel() == "F1 of the label"


def test_charts_that_are_not_there_are_refused(results):
    with pytest.raises(ValueError, match="chart must be one of"):
        results["comparison"].plot("weights")
    with pytest.raises(ValueError, match="chart must be one of"):
        results["evaluation"].plot("gain")


def test_a_pickled_chart_keeps_its_picture_only():
    chart = search_figure({"pso": [(1, 0.5), (2, 0.4)]}, loss="log-loss")
    again = pickle.loads(pickle.dumps(chart))
    assert again == chart and again.narrow == chart.narrow
    with pytest.raises(ValueError, match="a pickled one keeps its <svg> only"):
        draw_figure(again)
    assert draw_figure(chart).axes


class Kernel:
    """What a Jupyter kernel has loaded."""

    def __init__(self):
        self.written = []
        self.display = self

    def get_ipython(self):
        return type("Shell", (), {"kernel": True})()

    def __call__(self, html, display_id):
        self.update(html)
        return self

    def update(self, html):
        self.written.append(html)

    @staticmethod
    def HTML(text):
        return text


def test_progress_in_a_notebook(monkeypatch, scores):
    kernel = Kernel()
    monkeypatch.setitem(sys.modules, "IPython", kernel)
    monkeypatch.setitem(sys.modules, "IPython.display", kernel)
    monkeypatch.setattr(live_progress, "SECONDS_BETWEEN", 0.0)
    ls.compare(scores, ["mean"], n_bootstrap=20)
    assert "comparing, 0%" in kernel.written[0] and kernel.written[-1] == ""
    assert any("s left" in line for line in kernel.written)
    assert any("comparing: &lt;script&gt;" in line for line in kernel.written)
    assert not any("<script" in line for line in kernel.written)


def test_scripts_stay_silent(capsys, scores):
    with live_progress.live_progress("comparing") as progress:
        assert progress is None
    ls.compare(scores, ["mean"], n_bootstrap=20)
    assert capsys.readouterr() == ("", "")


def test_progress_is_the_callers_where_it_is_given(scores):
    seen = []
    ls.compare(scores, ["mean"], n_bootstrap=20, progress=lambda done, total, name: seen.append((done, total)))
    assert seen and seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize("name", ["comparison", "evaluation"])
def test_at_the_prompt_a_result_is_its_verdict_and_a_line_per_method(results, name):
    shown = results[name]
    verdict, *rows = str(shown).splitlines()
    assert verdict == shown.verdict() and repr(shown) == str(shown)
    methods = [row.method for row in shown.rows] if name == "comparison" else list(shown.table["method"])
    assert [row.split("  ")[0].strip() for row in rows] == methods
    assert all(re.search(r"\.\d{3} \[.*\]$", row) for row in rows)
