"""Where a label ends, and whether a key is an id or a name: decided for whole columns, refused where it is a guess."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stacking.predictions.forms.label_cells import LabelList, match_label_keys, split_cells, warn_of_rare_labels

RED_BLUE = [("red", "blue"), ("red",), ("blue",), ()]


@pytest.mark.parametrize("cells", [
    ["red|blue", "red", "blue", ""],
    [" red | blue ", "red|", "|blue", "|"],
    ["red, blue", "red", "blue", ""],
    ["red,blue", "red", "blue", " "],
    ["red;blue", "red", "blue", ""],
    ["red; blue", "red;", "blue", ""],
    ["['red', 'blue']", "['red']", "['blue']", "[]"],
    ['["red", "blue"]', '["red"]', '["blue"]', ""],
    ["['red' 'blue']", "['red']", "['blue']", "[]"],
    ["['red'\n 'blue']", "['red']", "['blue']", "[]"],
    ["[red, blue]", "[red]", "[blue]", "[]"],
    ["('red', 'blue')", "('red',)", "('blue',)", ""],
    ["{'red', 'blue'}", "{'red'}", "{'blue'}", ""],
    ["{'red', 'blue'}", "{'red'}", "{'blue'}", "set()"],
    ["('red', 'blue')", "('red',)", "('blue',)", "()"],
    ["['red', 'blue']", "('red',)", "{'blue'}", "{}"],
])  # fmt: skip
@pytest.mark.parametrize("known", [None, {"red", "blue"}])
def test_one_content_in_every_spelling(cells, known):
    assert [tuple(keys) for keys in split_cells(cells, known=known, who="t")] == RED_BLUE


@pytest.mark.parametrize(("cells", "expected"), [
    (["66 105", "7", ""], [("66", "105"), ("7",), ()]),
    (["[66, 105]", "[7]", "[]"], [("66", "105"), ("7",), ()]),
    (["[66 105]", "[7]", "[]"], [("66", "105"), ("7",), ()]),
    (["1 3", "2", "color:blue"], [("1", "3"), ("2",), ("color:blue",)]),
    (["long sleeve", "red", "short sleeve"], [("long sleeve",), ("red",), ("short sleeve",)]),
    (["long sleeve|red", "long sleeve", "red"], [("long sleeve", "red"), ("long sleeve",), ("red",)]),
    (["long sleeve, red", "red"], [("long sleeve", "red"), ("red",)]),
    (['["a|b", "c, d", "it\'s"]'], [("a|b", "c, d", "it's")]),
    (["['it\\'s', 'caf\\u00e9', 'a\\\\b']"], [("it's", "café", "a\\b")]),
    (["none", "nan|NA", "True"], [("none",), ("nan", "NA"), ("True",)]),
])  # fmt: skip
def test_labels_of_several_words_numbers_and_odd_names(cells, expected):
    assert split_cells(cells, who="t") == expected


@pytest.mark.parametrize(("cells", "known", "expected"), [
    (["long sleeve", "red"], ["long sleeve", "red"], [("long sleeve",), ("red",)]),
    (["red blue", "size 7"], ["red", "blue", "size 7"], [("red", "blue"), ("size 7",)]),
    (["red, dark", "blue"], ["red, dark", "blue"], [("red, dark",), ("blue",)]),
    (["red blue", "red", "blue"], ["red", "blue"], [("red", "blue"), ("red",), ("blue",)]),
    (["[unknown]", "red"], ["[unknown]", "red"], [("[unknown]",), ("red",)]),
    (["red,blue", "red"], ["red", "blue"], [("red", "blue"), ("red",)]),
])  # fmt: skip
def test_known_labels_say_where_a_label_ends(cells, known, expected):
    assert split_cells(cells, known=known, who="t") == expected


@pytest.mark.parametrize(("cells", "known", "message"), [
    (["red blue", "red", "blue"], None, "'red blue' could be one label or the labels 'red', 'blue'"),
    (["red, blue", "green"], None, "'red, blue' could be one label or the labels 'red', 'blue'"),
    (["red;blue", "red,blue"], None, "must separate labels by one mark: got ';' in 'red;blue' and ',' in 'red,blue'"),
    (["red|blue", "red,blue"], None, "got '|' in other cells and 'red,blue', whose parts are labels too"),
    (["['red']", "blue"], None, "must write all labels in one form: \"['red']\" looks like a list and 'blue' is none"),
    (["['a', ", "b"], None, "looks like a list and \"['a',\" is none"),
    (["['a' 'b' ... 'z']"], None, "which was cut short when printed"),
    (["['a', {}]"], None, r"must hold lists such as ['a', 'b']"),
    (["red, dark", "red"], ["red, dark", "red", "dark"], "'red, dark' is a label and could be the labels"),
    (["long sleeve"], ["long", "sleeve", "long sleeve"], "'long sleeve' is a label and could be the labels"),
])  # fmt: skip
def test_what_could_be_read_in_two_ways_is_refused(cells, known, message):
    with pytest.raises(ValueError) as caught:
        split_cells(cells, known=known, who="t")
    assert message in str(caught.value) and str(caught.value).startswith("t must")


@pytest.mark.parametrize(("separator", "cell", "expected"), [
    (" ", "red dress", ("red", "dress")), ("", "red\tdress", ("red", "dress")), (";", "a,b; c", ("a,b", "c")),
    ("/", "a/b", ("a", "b")), ("|", "a b", ("a b",)),
])  # fmt: skip
def test_a_separator_that_is_given_decides(separator, cell, expected):
    assert split_cells([cell], separator=separator, who="t") == [expected]


NAMES = st.text(st.characters(blacklist_characters="|\r\n", blacklist_categories=["Cs"]), min_size=1, max_size=8)
NAMES = NAMES.map(str.strip).filter(bool)


@given(st.lists(st.lists(NAMES, max_size=3, unique=True), min_size=1, max_size=5))
def test_what_is_joined_by_bars_comes_back(rows):
    names = {name for row in rows for name in row}
    cells = ["|".join(row) + "|" for row in rows]  # the bar at the end says that bars separate
    assert [list(keys) for keys in split_cells(cells, known=names, who="t")] == rows


NUMBERS = LabelList(("1", "2", "3", "4"), ids=("0", "1", "2", "3"))


@pytest.mark.parametrize(("keys", "prefer", "expected"), [
    (["0", "1"], None, {"0": 0, "1": 1}),
    (["4", "1"], None, {"4": 3, "1": 0}),
    (["1", "2"], "ids", {"1": 1, "2": 2}),
    (["1", "2"], "names", {"1": 0, "2": 1}),
    (["4"], "ids", {"4": 3}),
    (["x"], None, {}),
])  # fmt: skip
def test_ids_and_names_are_decided_together(keys, prefer, expected):
    assert match_label_keys(keys, NUMBERS, who="t", prefer=prefer) == expected


@pytest.mark.parametrize("keys", [["1", "2"], ["0", "4", "1"]])
def test_what_could_be_ids_and_names_is_refused(keys):
    with pytest.raises(ValueError, match="t: the labels must be ids or names, and could be both: '1' is the id of '2'"):
        match_label_keys(keys, NUMBERS, who="t")


def test_ids_that_are_the_names_are_no_riddle():
    labels = LabelList(("7", "red"), ids=("7", "9"))
    assert match_label_keys(["7"], labels, who="t") == {"7": 0}
    assert match_label_keys(["9", "7"], labels, who="t") == {"9": 1, "7": 0}
    assert match_label_keys(["7", "red"], LabelList(("7", "red")), who="t") == {"7": 0, "red": 1}


def test_labels_that_occur_once_are_said_aloud():
    odd = Counter({f"red, {number}": 1 for number in range(30)})
    text = warn_of_rare_labels(odd, 30, who="t")
    assert text.startswith("t: 30 of 30 labels occur in one sample only, such as 'red, 0'")
    assert warn_of_rare_labels(odd, 10, who="t") == "" == warn_of_rare_labels(Counter(red=30, blue=1), 30, who="t")
