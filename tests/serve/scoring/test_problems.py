"""The sentences of problems."""

import pytest

from serve.scoring.problems import MAX_LISTED, InvalidInput, problem, quoted, shown

ONE = problem(None, "users", "3", "a number", None)


@pytest.mark.parametrize(
    ("problems", "more", "beginning"),
    [
        ([ONE], False, '1 problem: users is "3"; expected a number.'),
        ([ONE] * 2, False, '2 problems: users is "3"; expected a number. users is'),
        ([ONE], True, "more than 1 problem: users"),
        ([ONE] * (MAX_LISTED + 1), False, "more than 1,000 problems: users"),
    ],
)
def test_the_number_of_problems_agrees_with_its_noun(problems, more, beginning):
    assert str(InvalidInput(problems, more=more)).startswith(beginning)


def test_a_problem_of_a_batch_has_its_row():
    assert str(InvalidInput([ONE | {"row": 2}])) == '1 problem: row 2: users is "3"; expected a number.'


def test_long_and_unencodable_values_are_shortened_and_escaped():
    assert len(shown("x" * 1_000)) == len(quoted("x" * 1_000)) == 80
    assert shown("half \ud800") == '"half \\ud800"'
    assert shown(10**400) == "a number of more than 300 digits"
