"""Counts and lists read as an English sentence does."""

import pytest

from mlsys.text import counted, is_or_are, joined


@pytest.mark.parametrize(("number", "text"), [(0, "0 rows are"), (1, "1 row is"), (2, "2 rows are")])
def test_noun_and_verb_agree_with_the_number(number, text):
    assert f"{counted(number, 'row')} {is_or_are(number)}" == text


@pytest.mark.parametrize(
    ("items", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_lists(items, text):
    assert joined(items) == text
