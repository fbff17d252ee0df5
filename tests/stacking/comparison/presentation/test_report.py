"""What the report says is what the comparison found."""

import re

import numpy as np
import pytest

from stacking.comparison import compare
from stacking.comparison.presentation.label_section import label_section
from stacking.comparison.presentation.weight_section import _common_weights
from stacking.report import Figure, Paragraph, Table


@pytest.fixture
def found(make, combiners, rng):
    predictions = make(rng, n_samples=200)
    y_true = predictions.y_true.copy()
    y_true[:, -1] = 0
    y_true[:5, -1] = 1
    return compare(predictions.with_truth(y_true), {"mean": combiners["mean"]}, n_bootstrap=20, n_splits=3)


def test_frequency_table_pools_labels_exactly(found):
    tables = [block for block in label_section(found).blocks if isinstance(block, Table)]
    rows = {row[0]: row[1:] for row in tables[0].rows}
    assert list(rows) == ["1 to 19", "20 to 199"]
    truth, held_out = found.truth.y_true, found.held_out("mean")
    rare = truth.sum(axis=0) < 20
    for name, columns in (("1 to 19", rare), ("20 to 199", ~rare)):
        true, pred = truth[:, columns], held_out.y_pred[:, columns]
        labels, hits, false_alarms, misses, precision, recall, f1 = rows[name]
        assert (labels, hits) == (columns.sum(), (true & pred).sum())
        assert (false_alarms, misses) == ((~true & pred).sum(), (true & ~pred).sum())
        assert recall == pytest.approx((true & pred).sum() / true.sum())
        assert (precision is None and not pred.any()) or precision == pytest.approx((true & pred).sum() / pred.sum())
        assert f1 == pytest.approx(2 * hits / (true.sum() + pred.sum()))


def test_every_label_is_listed_most_frequent_first(found):
    table = [block for block in label_section(found).blocks if isinstance(block, Table)][-1]
    positives = [row[1] for row in table.rows]
    assert positives == sorted(positives, reverse=True)
    assert {row[0] for row in table.rows} == set(found.labels)


def test_leaderboard_section_lists_every_row_and_sets_off_the_ensemble(found):
    leaderboard = found.sections()[0]
    table = next(block for block in leaderboard.blocks if isinstance(block, Table))
    assert [row[0] for row in table.rows] == [row.method for row in found.rows]
    assert [table.rows[number][0] for number in table.strong] == ["mean"]
    assert any(isinstance(block, Figure) for block in leaderboard.blocks)


def test_every_method_has_its_rule_time_and_memory(found):
    table = next(
        block for block in found.sections()[0].blocks if isinstance(block, Table) and "memory" in block.caption
    )
    assert [row[0] for row in table.rows] == [row.method for row in found.rows]
    mean = next(list(row) for row in table.rows if row[0] == "mean")
    expected = found.row("mean")
    rules = {"half": ".5", "single": "one", "cross-validated": "per label where they hold up"}
    assert mean[1:4] == ["vote", rules.get(expected.rule, "per label"), expected.never_predicted]
    assert mean[5:] == [expected.cpu_seconds, expected.wall_seconds, expected.peak_memory_mb]


def test_notes_of_single_folds_name_the_fold(make, combiners, rng):
    class Teller(type(combiners["mean"])):
        def _fit(self, predictions):
            super()._fit(predictions)
            self.notes_ = ["always"] + (["often"] if "s0" in predictions.ids else [])

    predictions = make(rng, n_samples=90, ids=[f"s{number}" for number in range(90)])
    found = compare(predictions, {"teller": Teller()}, n_bootstrap=10, n_splits=3)
    always, *often = found.row("teller").notes
    assert always == "always"
    assert len(often) == 2
    assert set(often) < {f"fold {fold}: often" for fold in (1, 2, 3)}


def test_the_manifest_in_a_report_is_short(found):
    code = found.sections()[-1].blocks[-1]
    assert found.labels[0] not in code.text
    assert found.manifest["fingerprint"] in code.text


def test_learned_weights_are_shown_and_equal_ones_are_not(make, combiners, rng):
    class Learned(type(combiners["mean"])):
        def _fit(self, predictions):
            self.weights_ = np.array([0.7, 0.2, 0.1])

    class PerLabel(type(combiners["mean"])):
        def _fit(self, predictions):
            self.weights_ = np.random.default_rng(0).dirichlet(np.ones(3), size=6).T

    methods = {"mean": combiners["mean"], "learned": Learned(), "own": PerLabel()}
    found = compare(make(rng, n_samples=90), methods, n_bootstrap=10, n_splits=3)
    section = next(section for section in found.sections() if section.title == "Weights")
    charts = [block for block in section.blocks if isinstance(block, Figure)]
    assert len(charts) == 2
    assert ".70" in charts[0].svg
    numbers = next(block for block in section.blocks if isinstance(block, Table))
    assert [column.title for column in numbers.typed_columns] == ["model", "learned"]
    assert dict(numbers.rows) == pytest.approx({"net0": 0.7, "net1": 0.2, "net2": 0.1})
    assert charts[1].caption.startswith("own: weight of each model for each label")
    texts = re.findall(r">(label\d)<", charts[1].svg)
    assert texts == [found.labels[label] for label in np.argsort(-found.truth.label_positives, kind="stable")]


def test_every_vote_is_named_over_its_weights(make, combiners, rng):
    class Learned(type(combiners["mean"])):
        def _fit(self, predictions):
            self.weights_ = np.array([0.7, 0.2, 0.1])

    methods = {f"vote{number}": Learned() for number in range(5)}
    found = compare(make(rng, n_samples=90), methods, n_bootstrap=10, n_splits=3)
    section = next(section for section in found.sections() if section.title == "Weights")
    charts = [block.svg for block in section.blocks if isinstance(block, Figure)]
    named = [re.findall(r">(vote\d)<", svg) for svg in charts]
    assert sorted(map(len, named)) == [2, 3]
    assert {name for names in named for name in names} == set(methods)


def test_weights_that_only_coverage_changes_are_shown_as_shared():
    """The second member does not answer the last label."""
    shared = _common_weights(np.array([[0.5, 0.5, 0.625], [0.2, 0.2, 0.0], [0.3, 0.3, 0.375]]))
    np.testing.assert_allclose(shared, [0.5, 0.2, 0.3])
    assert _common_weights(np.array([[0.5, 0.5, 0.9], [0.2, 0.2, 0.0], [0.3, 0.3, 0.1]])) is None
    np.testing.assert_allclose(_common_weights(np.array([[0.5, 0.5, 1.0], [0.5, 0.5, 0.0]])), [0.5, 0.5])


def test_weights_are_shared_also_where_no_label_is_answered_by_all():
    """Two specialists that share no label: an even vote passed for one with weights of its own for each label."""
    generalists, first, second = [[1 / 3] * 4] * 2, [1 / 3, 1 / 3, 0, 0], [0, 0, 1 / 3, 1 / 3]
    np.testing.assert_allclose(_common_weights(np.array([*generalists, first, second])), [0.25] * 4)
    whole = np.array([0.4, 0.1, 0.2, 0.3])
    covers = np.array([[1, 1, 1, 1], [1, 0, 1, 1], [1, 1, 0, 0], [0, 0, 1, 1]])
    weights = covers * whole[:, None]
    np.testing.assert_allclose(_common_weights(weights / weights.sum(axis=0)), whole)
    assert _common_weights(np.array([[0.5, 0.0], [0.5, 0.9], [0.0, 0.1]])) is not None  # one way to tell them apart
    assert _common_weights(np.array([[0.5, 0.5, 0.9], [0.5, 0.0, 0.1], [0.0, 0.5, 0.0]])) is None


def test_no_empty_table_where_every_label_is_predicted(make, combiners, rng):
    predictions = make(rng, n_samples=200)
    found = compare(predictions, {"mean": combiners["mean"]}, n_bootstrap=10, n_splits=3)
    blocks = label_section(found).blocks
    assert all(block.rows for block in blocks if isinstance(block, Table))
    said = " ".join(block.text for block in blocks if isinstance(block, Paragraph))
    assert "All 6 labels that occur are predicted by mean." in said


def test_verdict_says_when_samples_do_not_settle_it(make, combiners, rng):
    found = compare(make(rng, n_samples=60, n_models=1), {"copy": combiners["mean"]}, n_bootstrap=20, n_splits=3)
    assert "The ensemble copy scores" in found.verdict()
    assert "not settled by these samples" in found.verdict()


def test_extra_sections_come_before_the_protocol(found, tmp_path):
    from stacking.report import Paragraph, Section

    report = found.report("title", [Section("Learning curves", [Paragraph("text")])])
    assert [section.title for section in report.sections][-2:] == ["Learning curves", "How this was measured"]


@pytest.mark.parametrize("metric", ["macro-f1", "log-loss", "roc-auc", "cost:fp=1,fn=5"])
def test_a_page_speaks_of_its_own_metric(make, combiners, rng, metric):
    """The column of scores, what lower is better is a change and no gain, and what the dots were tuned for."""
    predictions = make(rng, n_samples=120)
    page = compare(predictions, {"mean": combiners["mean"]}, n_bootstrap=20, n_splits=3, metric=metric)
    board, gain = (
        next(block for block in section.blocks if isinstance(block, Table)) for section in page.sections()[:2]
    )
    assert board.columns[1].title == page.metric.title
    assert gain.columns[1].title == ("gain" if page.metric.greater_is_better else "change")
    (curves,) = (section for section in page.sections() if section.title == "Thresholds and reliability")
    told = f"tuned for {page.metric.title}, without these samples." in curves.blocks[0].caption
    assert told == page.metric.needs_decisions


def test_a_page_counts_one_in_the_singular(make, combiners, rng):
    predictions = make(rng, n_samples=90).subset(models=["net0"])
    page = compare(predictions, {"mean": combiners["mean"]}, n_bootstrap=20, n_splits=3).report()
    assert page.subtitle.startswith("1 model · ")


def test_a_constant_answer_ranks_nothing(make, combiners, rng):
    """Its frequency differed from fold to fold, against the truth, and ROC AUC fell below that of no knowledge."""
    page = compare(make(rng, n_samples=90), {"mean": combiners["mean"]}, n_bootstrap=20, n_splits=3, metric="roc-auc")
    assert page.constant_answer == 0.5
