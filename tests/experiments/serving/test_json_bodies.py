"""Bodies of JSON are read by the fast parser as Python's own reads them, or not at all."""

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("starlette")
pytest.importorskip("jiter")

from experiments.serving import sent_scores
from experiments.serving.sent_scores import parse_body
from stacking.files.untrusted import parse_json

HUGE = st.integers(0, 400).map(lambda power: 10**power)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers() | HUGE
ODD = [b"", b'"', b",", b":", b"{", b"]", b"\\", b"\xff", b"1e9", b"\0"]
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(max_size=8),
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(st.text(max_size=4), parts, max_size=4),
    max_leaves=12,
)  # fmt: skip


def told(read, body):
    """What a reader makes of a body; numbers and texts of the same kind, to the last bit."""
    try:
        return repr(read(body))
    except ValueError as error:
        return f"refused: {error}"


@given(st.dictionaries(st.text(max_size=6), VALUES, max_size=4), st.booleans())
def test_what_is_json_is_read_alike(sent, ascii_only):
    body = json.dumps(sent, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    assert told(parse_body, body) == told(lambda data: parse_json(data, "the body"), body)


@given(
    st.dictionaries(st.text(max_size=3), VALUES, max_size=3),
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from(ODD))),
)
def test_what_is_damaged_is_refused_in_the_same_words(sent, changes):
    body = json.dumps(sent).encode()
    for place, put in changes:
        body = body[: place % (len(body) + 1)] + put + body[place % (len(body) + 1) + 1 :]
    assert told(parse_body, body) == told(lambda data: parse_json(data, "the body"), body)


@pytest.mark.parametrize(
    "body",
    [b'{"a": 1, "a": 1}', b'{"a": {"b": 1, "b": 2}}', b'{"a": NaN}', b'{"a": -Infinity}', b'{"a": "\\ud800"}', b"[1]",
     b"", b"\xef\xbb\xbf{}", b'{"a": 01}', b'{"a": 1e999}', b'{"a": ' + b"9" * 5000 + b"}", b'{"a": 1} x',
     b'{"a": -0}'],
)  # fmt: skip
def test_what_parsers_differ_in_is_read_alike(body):
    assert told(parse_body, body) == told(lambda data: parse_json(data, "the body"), body)


def test_without_the_fast_parser_the_answer_is_the_same(monkeypatch):
    body = b'{"scores": {"a": [[0.1, null, 1]]}}'
    with_it = parse_body(body)
    monkeypatch.setattr(sent_scores, "jiter", None)
    assert parse_body(body) == with_it == {"scores": {"a": [[0.1, None, 1]]}}


def test_a_hundred_thousand_numbers_cost_less_than_half():
    body = json.dumps({"scores": {"a": [[number / 7919 for number in range(7919)]] * 12}}).encode()

    def cost(read):
        began = time.process_time()
        read(body)
        return time.process_time() - began

    ours = min(cost(parse_body) for _ in range(5))
    assert ours < 0.5 * min(cost(lambda data: parse_json(data, "the body")) for _ in range(5))
