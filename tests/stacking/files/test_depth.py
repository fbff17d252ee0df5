"""JSON of a stranger is refused at a depth that our own code still follows, not where Python gives up."""

import pytest

from stacking.files.untrusted import MOST_DEPTH, parse_json


def nested(depth):
    """Return an object that holds lists in lists."""
    return b'{"a": ' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


def test_as_deep_as_our_own_files_is_fine_and_one_deeper_is_refused():
    assert parse_json(nested(MOST_DEPTH - 1), "it")
    for depth in (MOST_DEPTH + 1, 300, 100_000):
        with pytest.raises(ValueError, match=f"nested deeper than {MOST_DEPTH} levels"):
            parse_json(nested(depth), "it")
