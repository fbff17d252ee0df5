"""Thresholds by name in a file: what is written comes back, and anything else is refused in a sentence."""

import json

import numpy as np
import pytest

from stacking.decision_rules.threshold_file import FORMAT, read_thresholds

LABELS = ("hat", "shoe|left", "__proto__", "é")


def test_thresholds_come_back_by_name(tmp_path):
    limits, kept = [0.25, np.inf, 0.1 + 0.2, 1.0], [0.25, None, 0.1 + 0.2, 1.0]
    stored = {"format": FORMAT, "thresholds": dict(zip(LABELS, kept, strict=True))}
    (tmp_path / "t.json").write_text(json.dumps(stored), "utf-8")
    assert read_thresholds(tmp_path / "t.json", LABELS).tolist() == limits
    assert read_thresholds(tmp_path / "t.json", LABELS[::-1]).tolist() == limits[::-1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "else"}, r"thresholds must be a JSON file with the format 'labelstack thresholds'"),
        ({"thresholds": [0.5]}, r"thresholds must be a JSON file"),
        ({"thresholds": {"hat": 0.5, "sho": 0.5}}, r"'sho' is none of them\. Did you mean 'shoe'\?"),
        ({"thresholds": {"hat": 0.5}}, r"1 are missing, the first is 'shoe'; write null"),
        (
            {"thresholds": {"hat": 0.5, "shoe": 1.5}},
            r"must lie in \[0, 1\], or be null for never: got 1\.5 for label 'shoe'",
        ),
        ({"thresholds": {"hat": True, "shoe": 1}}, r"got True for label 'hat'"),
        ({"thresholds": {"hat": "0.5", "shoe": 1}}, r"got '0\.5' for label 'hat'"),
    ],
)
def test_other_files_are_refused(tmp_path, change, message):
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"format": FORMAT, "thresholds": {"hat": 0.5, "shoe": None}, **change}), "utf-8")
    with pytest.raises(ValueError, match=message):
        read_thresholds(path, ["hat", "shoe"])


def test_a_label_given_twice_is_refused(tmp_path):
    path = tmp_path / "t.json"
    path.write_text(f'{{"format": "{FORMAT}", "thresholds": {{"hat": 0.1, "hat": 0.2}}}}', "utf-8")
    with pytest.raises(ValueError, match="hat"):
        read_thresholds(path, ["hat"])
