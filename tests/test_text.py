"""Counts and lists read as an English sentence does."""

import logging

import pytest

from mlsys.text import LogFormatter, counted, is_or_are, joined


@pytest.mark.parametrize(("number", "text"), [(0, "0 rows are"), (1, "1 row is"), (2, "2 rows are")])
def test_noun_and_verb_agree_with_the_number(number, text):
    assert f"{counted(number, 'row')} {is_or_are(number)}" == text


@pytest.mark.parametrize(
    ("items", "text"), [([], ""), (["a"], "a"), (["a", "b"], "a and b"), (["a", "b", "c"], "a, b and c")]
)
def test_lists(items, text):
    assert joined(items) == text


def test_log_lines_show_control_characters():
    details = "plan\x1b[31m", "\u202ename"
    record = logging.LogRecord("mlsys", logging.INFO, __file__, 1, "%s used as %s", details, None)
    assert LogFormatter("%(levelname).1s %(message)s").format(record) == "I plan␛[31m used as �name"
