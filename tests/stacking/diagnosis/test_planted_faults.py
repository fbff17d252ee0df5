"""Every fault is planted into honest sets of twenty seeds and must be found; honest sets must raise no alarm."""

import numpy as np
import pytest

from stacking.diagnosis import check_predictions
from stacking.predictions import PredictionSet
from stacking.process.progress import report_progress

SEEDS = range(20)


def shuffle(scores, y_true, rng):
    return scores[rng.permutation(len(scores))]


def shift(scores, y_true, rng):
    return np.roll(scores, int(rng.integers(1, 100)), axis=0)


def reverse(scores, y_true, rng):
    return scores[::-1]


def shuffle_half(scores, y_true, rng):
    start = int(rng.integers(0, len(scores) // 2))
    stretch = slice(start, start + len(scores) // 2)
    changed = scores.copy()
    changed[stretch] = scores[stretch][rng.permutation(len(scores[stretch]))]
    return changed


def invert(scores, y_true, rng):
    return 1 - scores


def invert_a_label(scores, y_true, rng):
    changed = scores.copy()
    changed[:, 0] = 1 - scores[:, 0]
    return changed


def permute_labels(scores, y_true, rng):
    return np.roll(scores, int(rng.integers(1, scores.shape[1])), axis=1)


def swap_labels(scores, y_true, rng):
    return scores[:, [1, 0, *range(2, scores.shape[1])]]


def see_the_truth(scores, y_true, rng):
    return 0.4 * scores + 0.6 * y_true


def sharpen_to_the_truth(scores, y_true, rng):
    logits = np.log(scores / (1 - scores)) + 5 * (y_true - 0.5)
    return 1 / (1 + np.exp(-logits))


def to_logits(scores, y_true, rng):
    return np.log(scores / (1 - scores))


def to_percentages(scores, y_true, rng):
    return 100 * scores


def to_bytes(scores, y_true, rng):
    return 255 * scores


def to_plus_minus_one(scores, y_true, rng):
    return 2 * scores - 1


def to_log_probabilities(scores, y_true, rng):
    return np.log(scores)


def sigmoid_twice(scores, y_true, rng):
    return 1 / (1 + np.exp(-scores))


def to_softmax(scores, y_true, rng):
    return scores / scores.sum(axis=1, keepdims=True)


def make_constant(scores, y_true, rng):
    return np.full_like(scores, 0.3)


def punch_holes(scores, y_true, rng):
    changed = scores.copy()
    changed[rng.integers(0, len(scores), 5), 2] = np.nan
    return changed


FAULTS = {
    shuffle: "rows",
    shift: "rows",
    reverse: "rows",
    shuffle_half: "rows",
    invert: "inverted",
    invert_a_label: "inverted",
    permute_labels: "columns",
    see_the_truth: "seen-rows",
    sharpen_to_the_truth: "seen-rows",
    to_logits: "scale",
    to_percentages: "scale",
    to_bytes: "scale",
    to_plus_minus_one: "scale",
    to_log_probabilities: "scale",
    sigmoid_twice: "scale",
    to_softmax: "scale",
    make_constant: "constant",
    punch_holes: "scale",
}


@pytest.mark.parametrize("plant", FAULTS, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found_and_nobody_else_is_accused(honest, plant):
    found, accused = [], []
    for seed in SEEDS:
        y_scores, y_true = honest(seed)
        rng = np.random.default_rng(seed)
        # of the weakest member no stretch of 64 rows is certain, so half of its rows may be shuffled unseen
        guilty = int(rng.integers(3 if plant is shuffle_half else 4))
        members = dict(zip("abcd", y_scores, strict=True))
        members["abcd"[guilty]] = plant(y_scores[guilty], y_true, rng).astype(np.float32)
        report = check_predictions(members, y_true)
        faults = [*report.of_severity("red"), *report.of_severity("yellow")]
        found.append(("abcd"[guilty], FAULTS[plant]) in {(one.member, one.check) for one in faults})
        accused += [one for one in faults if one.member != "abcd"[guilty]]
    assert np.mean(found) >= 0.9  # one member of the four knows so little that two sets of twenty may hide its faults
    assert not accused


def test_two_labels_swapped_are_found_where_they_do_not_go_together(honest):
    found, wrong = [], []
    for seed in SEEDS:
        y_scores, y_true = honest(seed)
        members = dict(zip("abcd", [*y_scores[:3], swap_labels(y_scores[3], y_true, None)], strict=True))
        alike = np.corrcoef(y_true[:, 0], y_true[:, 1])[0, 1]
        red = check_predictions(members, y_true).of_severity("red")
        is_found = any(one.check == "columns" and set(one.labels) == {"label0", "label1"} for one in red)
        found += [is_found] if alike < 0.1 else []
        wrong += [one for one in red if one.member != "d"]
    assert len(found) >= 5
    assert np.mean(found) >= 0.85
    assert not wrong


def test_honest_sets_raise_no_alarm(honest):
    alarms = []
    for seed in range(100, 125):
        for n_samples in (120, 320):
            y_scores, y_true = honest(seed, n_samples=n_samples)
            n_members = 2 + seed % 3
            report = check_predictions(list(y_scores[:n_members]), y_true)
            alarms += [finding for finding in report.findings if finding.severity in ("red", "yellow")]
    assert not alarms


@pytest.mark.parametrize("plant", [shuffle, shift, invert, permute_labels], ids=lambda plant: plant.__name__)
def test_without_the_truth_members_are_held_against_each_other(honest, plant):
    found = []
    for seed in SEEDS:
        y_scores, y_true = honest(seed)
        changed = [*y_scores[1:], plant(y_scores[0], y_true, np.random.default_rng(seed))]
        red = check_predictions(changed).of_severity("red")
        found.append((("model3", FAULTS[plant]) in {(one.member, one.check) for one in red}) and len(red) == 1)
    assert np.mean(found) >= 0.95


def test_a_shuffled_truth_is_told_from_shuffled_members(honest):
    for seed in SEEDS:
        y_scores, y_true = honest(seed)
        report = check_predictions(list(y_scores), shuffle(y_true, None, np.random.default_rng(seed)))
        (red,) = report.of_severity("red")
        assert (red.check, red.member) == ("rows", "")
        assert "truth" in red.message


def test_a_shift_is_measured(honest):
    y_scores, y_true = honest(0)
    report = check_predictions([*y_scores[:3], np.roll(y_scores[3], 7, axis=0)], y_true)
    (red,) = report.of_severity("red")
    assert "moved by 7 rows" in red.message


def test_test_scores_give_away_members_that_have_seen_their_rows(honest):
    """A memory that the hard cells do not show: the member is only somewhat better here than on test rows."""
    found, accused = [], []
    for seed in SEEDS:
        y_scores, y_true = honest(seed, n_samples=640)
        here, there = y_scores[:, :320].copy(), y_scores[:, 320:]
        here[2] = 0.75 * here[2] + 0.25 * y_true[:320]
        report = check_predictions(list(here), y_true[:320], test=list(there), test_true=y_true[320:])
        red = [one for one in report.of_severity("red") if one.check == "seen-rows"]
        found.append("model2" in {one.member for one in red})
        accused += [one for one in red if one.member != "model2"]
        honest_report = check_predictions(
            list(y_scores[:, :320]), y_true[:320], test=list(there), test_true=y_true[320:]
        )
        accused += honest_report.of_severity("red")
    assert np.mean(found) >= 0.95
    assert not accused


def test_test_rows_that_are_fitted_on_are_found_by_id_and_by_their_scores(honest):
    y_scores, y_true = honest(3, n_samples=640)
    ids = [f"photo{row}" for row in range(640)]
    part = {"y_true": y_true[:320]}
    here = PredictionSet(y_scores[:, :320], ids[:320], **part)
    rows = [*range(300, 640)]
    for names, shared in ((np.array(ids)[rows], "photo300"), ([f"test{row}" for row in rows], "test300")):
        report = check_predictions(here, test=PredictionSet(y_scores[:, rows], names, y_true=y_true[rows]))
        (red,) = report.of_severity("red")
        assert red.check == "copies" and red.message.startswith("20 of 340 test rows") and repr(shared) in red.message
    few = PredictionSet(y_scores[:, 315:], [f"test{row}" for row in range(325)], y_true=y_true[315:])
    report = check_predictions(here, test=few)
    assert not report.of_severity("red")
    assert [one.evidence for one in report.of_severity("yellow") if one.check == "copies"] == [{"n_samples": 5.0}]
    report = check_predictions(list(y_scores[:, :320]), y_true[:320], test=list(y_scores[:, 320:]))
    assert not [one for one in report.findings if one.check == "copies" and one.severity in ("red", "yellow")]


def test_copies_split_groups_and_rare_labels(honest):
    y_scores, y_true = honest(3)
    y_scores[:, 11] = y_scores[:, 5]
    y_true[11] = y_true[5]
    y_true[:, 4] = 0
    y_true[:, 6] = 0
    y_true[:2, 6] = 1
    y_scores = np.concatenate([y_scores, y_scores[:1]])
    report = check_predictions(list(y_scores), y_true)
    yellow = {(one.check, one.message.split(" ")[0], one.labels) for one in report.of_severity("yellow")}
    assert ("copies", "2", ()) in yellow
    assert {labels for check, _, labels in yellow if check == "rare-labels"} == {("label4",), ("label6",)}
    assert [(one.check, one.member) for one in report.of_severity("red")] == [("copies", "model4")]


@pytest.mark.parametrize("digits", [3, 4, 7])
def test_a_member_that_is_there_twice_ruins_the_blend_however_it_was_rounded(honest, digits):
    y_scores, y_true = honest(6)
    report = check_predictions([*y_scores, y_scores[1].round(digits)], y_true)
    assert [(one.check, one.member) for one in report.of_severity("red")] == [("copies", "model4")]


def test_two_members_that_say_next_to_nothing_are_no_copies(honest):
    y_scores, y_true = honest(7)
    faint = [0.0004 * y_scores[0], 0.0004 * y_scores[1], *y_scores[2:]]
    found = check_predictions(faint, y_true).findings
    assert not [one for one in found if one.check == "copies" and one.severity in ("red", "yellow")]


def test_groups_that_are_split_over_folds(honest):
    from stacking.predictions import PredictionSet

    y_scores, y_true = honest(4)
    groups = np.repeat(np.arange(160), 2)
    folds = np.arange(320) % 5
    split = check_predictions(PredictionSet(y_scores, y_true=y_true, groups=groups, folds=folds))
    whole = check_predictions(PredictionSet(y_scores, y_true=y_true, groups=groups, folds=groups % 5))
    assert [one.check for one in split.of_severity("red")] == ["groups"]
    assert whole.is_clean


def test_votes_that_meet_by_chance_are_no_copies(honest):
    y_scores, y_true = honest(5)
    report = check_predictions(list((y_scores > 0.5).astype(np.float32)), y_true)
    assert "copies" in {one.check for one in report.of_severity("green")}


def test_members_of_truth_and_noise_of_their_own_raise_no_alarm():
    """Such members are right where the others err, as honest as they are; real ones are not like that."""
    alarms = []
    for seed in range(25):
        rng = np.random.default_rng(seed)
        y_true = (rng.random((240, 4)) < (0.5, 0.4, 0.3, 0.2)).astype(np.uint8)
        noise = rng.normal(size=(3, 240, 4)) * np.array([0.8, 1.4, 2.5])[:, None, None]
        y_scores = 1 / (1 + np.exp(1.5 - 3 * y_true - noise))
        report = check_predictions(list(y_scores.astype(np.float32)), y_true)
        alarms += [finding for finding in report.findings if finding.severity in ("red", "yellow")]
    assert not alarms


def test_members_of_equal_noise_raise_no_alarm():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        y_true = rng.random((240, 4)) < 0.4
        y_scores = np.clip(0.3 + 0.35 * y_true + 0.2 * rng.normal(size=(3, 240, 4)), 0, 1)
        report = check_predictions(y_scores, y_true)
        assert not [finding for finding in report.findings if finding.severity in ("red", "yellow")]


@pytest.mark.parametrize("plant", [shuffle, invert, make_constant, see_the_truth], ids=lambda plant: plant.__name__)
def test_the_quick_look_finds_what_ruins_a_blend_of_many_members(honest, plant):
    from stacking.diagnosis import quick_findings
    from stacking.predictions import PredictionSet

    for seed in range(5):
        rng = np.random.default_rng(seed)
        y_scores, y_true = honest(seed, n_samples=1200)
        logits = np.repeat(np.log(y_scores / (1 - y_scores)), 10, axis=0)
        members = 1 / (1 + np.exp(-logits - rng.normal(size=logits.shape)))
        assert quick_findings(PredictionSet(members, y_true=y_true)) == []
        members[7] = plant(members[7], y_true, rng)
        red = quick_findings(PredictionSet(members, y_true=y_true))
        assert [(one.member, one.check) for one in red] == [("model7", FAULTS[plant])]


def test_cells_that_nobody_annotated_raise_no_alarm():
    """As negatives they are the hard ones: a member that gives them low scores would seem to have seen them."""
    rng = np.random.default_rng(0)
    right = rng.random((400, 5)) < 0.5
    known = np.ma.masked_array(right.astype(np.uint8), mask=rng.random(right.shape) < 0.85)
    scores = np.clip(0.1 + 0.7 * right + 0.25 * rng.normal(size=(3, 400, 5)), 0.001, 0.999)
    annotators = np.where(np.ma.getmaskarray(known), 0.05 + 0.01 * rng.random(right.shape), scores[0])
    given = {"cnn": scores[0], "vit": scores[1], "resnet": scores[2]}
    assert check_predictions(given, known).is_clean and not _yellow(check_predictions(given, known))
    report = check_predictions({**given, "annotators": annotators}, known)
    assert not [finding for finding in report.findings if finding.check == "seen-rows" and finding.severity == "red"]
    rare = np.ma.masked_array(right, mask=~right)  # no negative is known
    assert not _yellow(check_predictions(given, rare)) - {"rare-labels"}


def _yellow(report):
    return {finding.check for finding in report.findings if finding.severity == "yellow"}


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_members_that_say_the_same_of_everything_are_told(value):
    truth = (np.random.default_rng(0).random((40, 3)) < 0.5).astype(np.uint8)
    report = check_predictions({name: np.full((40, 3), value) for name in "abc"}, truth)
    assert {finding.check for finding in report.findings if finding.severity == "red"} == {"constant"}


def test_checks_say_how_far_they_are(honest):
    y_scores, y_true = honest(3)
    told = []
    with report_progress(lambda done, _, name: told.append((done, name))):
        check_predictions(y_scores, y_true)
    shares = [done for done, _ in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {"columns", "order of rows", "copies"} <= {name for _, name in told}
