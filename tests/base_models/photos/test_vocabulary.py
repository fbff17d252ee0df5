import pickle

import pytest

from base_models.photos.vocabulary import Vocabulary, load_vocabulary


def written(tmp_path, text):
    path = tmp_path / "labels.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_reads_ids_names_and_groups(tmp_path):
    vocabulary = load_vocabulary(
        written(tmp_path, '\ufefflabelId,name,count\n007,sleeve:long,3\n9,"color:red, dark",1\n')
    )
    assert vocabulary.ids == ("007", "9")
    assert vocabulary.groups == ("sleeve", "color")
    assert vocabulary.column("007") == 0
    assert vocabulary.column("color:red, dark") == 1
    assert vocabulary.column("7") is None


def test_a_group_column_and_no_ids(tmp_path):
    vocabulary = load_vocabulary(written(tmp_path, "name,group\nNA,place\nlong,\n"))
    assert vocabulary.names == vocabulary.ids == ("NA", "long")
    assert vocabulary.groups == ("place", "")


def test_ids_win_over_names():
    assert Vocabulary(("2", "1"), ids=("1", "2")).column("1") == 0


def test_keys_are_sorted_with_numbers_first():
    assert Vocabulary.from_keys(["10", "b", "2", "a", "2"]).names == ("2", "10", "a", "b")


def test_select_keeps_the_order_given_and_the_fingerprint_sees_order():
    vocabulary = Vocabulary(("a", "b", "c"))
    assert vocabulary.select([2, 0]).names == ("c", "a")
    assert vocabulary.fingerprint != vocabulary.select([0, 2, 1]).fingerprint
    assert pickle.loads(pickle.dumps(vocabulary)) == vocabulary


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("labelId,word\n1,a\n", r"labels\.csv must have a column of label names \('name'\): it has 'labelId', 'word'"),
        ("labelId,name\n1,a\n1,b\n", "label ids must be unique: got '1' 2 times"),
        ("labelId,name\n1,a\n2,a\n", "labels must be unique: got 'a' 2 times"),
        ("labelId,name\n", "at least one name"),
        ("name,labelId\na\n", "equally long rows, 2 cells each: line 2 has 1"),
        ("labelId,name\n1,a\n2,\n", "labels must not be empty strings: got one at position 1"),
        ("labelId,name\n1,a\n ,b\n", "label ids must not be empty strings: got one at position 1"),
        ("labelId,name\n1,a\n2,b|c\n", r"label names must hold no '\|' and no line break, .* got 'b\|c'"),
        ('labelId,name\n1,a\n2,"b\nc"\n', r"label names must hold no '\|' and no line break, .* got 'b\\nc'"),
        ("red\nblue\n", "must name its one column in the first row, such as 'name': got 'red'"),
    ],
)
def test_bad_files_get_one_sentence(tmp_path, text, reason):
    with pytest.raises(ValueError, match=reason):
        load_vocabulary(written(tmp_path, text))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"data\.labels must name a vocabulary file: got .*nowhere\.csv"):
        load_vocabulary(tmp_path / "nowhere.csv")


def test_unequal_lengths_are_refused():
    with pytest.raises(ValueError, match="equal lengths: got 2, 1 and 2"):
        Vocabulary(("a", "b"), groups=("x",))
