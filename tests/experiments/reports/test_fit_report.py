"""The report of a fit speaks of the metric that it was fitted for."""

import pytest

import labelstack as ls
from experiments.reports.fit_report import describe_fit, gain_titles, rules_best_first
from stacking.combiners.auto.race import AutoCombiner
from stacking.report import Paragraph, Table


@pytest.fixture(scope="module")
def scores():
    return ls.example_scores(150)


def _section(page, title):
    return next(section for section in page.sections if section.title == title)


@pytest.mark.parametrize(
    ("metric", "titles", "less_is_better"),
    [
        ("cost:fp=1,fn=5", ("change", "from the best member with one threshold"), True),
        ("macro-f1", ("gain", "from the best member with one threshold"), False),
        ("log-loss", ("change", "from the best member"), False),  # its rules go by micro-F1
    ],
)
def test_rules_and_steps_follow_the_direction_of_the_metric(scores, metric, titles, less_is_better):
    ensemble = ls.fit(scores, "mean", metric=metric)
    assert gain_titles(ensemble) == titles
    rules = rules_best_first(ensemble)
    assert dict(rules) == ensemble.report_["rules"]
    values = [value for _, value in rules]
    assert values == sorted(values, reverse=not less_is_better)
    table = next(block for block in _section(describe_fit(ensemble, {}), "The decision rule").blocks)
    assert isinstance(table, Table) and [row[0] for row in table.rows] == [name for name, _ in rules]


def test_the_race_names_the_error_of_what_a_candidate_is_behind_and_what_chose(scores):
    ensemble = ls.StackingEnsemble(AutoCombiner(methods=["mean", "best-single"])).fit(scores)
    race = _section(describe_fit(ensemble, {}), "The race")
    table = next(block for block in race.blocks if isinstance(block, Table))
    assert [column.title for column in table.typed_columns][2:4] == ["behind the best", "± s.e."]
    best, other = table.rows
    assert (best[2], best[3]) == (None, None) and other[2] > 0 < other[3]
    assert any("Rows that tuned nothing" in block.text for block in race.blocks if isinstance(block, Paragraph))
